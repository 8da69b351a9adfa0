# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
# aws-lc, which rustls computes with, is C. Python collects the licenses.
RUN apt-get update && apt-get install --yes --no-install-recommends cmake gcc g++ make python3 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# There is no .git here. `docker build --build-arg COMMIT=$(git rev-parse HEAD) --build-arg DATE=$(TZ=UTC git log -1
# --date=short-local --format=%cd)` says what --version prints; without them it prints "unknown".
ARG COMMIT=
ARG DATE=
ENV GATEWAY_BUILD_COMMIT=$COMMIT GATEWAY_BUILD_DATE=$DATE
# Without the embedded archive, which a deployment has no use for.
RUN cargo build --locked --profile dist --no-default-features --bin dicomweb-gateway
RUN python3 scripts/third_party_notices.py >THIRD-PARTY-NOTICES
RUN mkdir state

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/dist/dicomweb-gateway /usr/local/bin/dicomweb-gateway
COPY --from=build /build/LICENSE /build/NOTICE /build/THIRD-PARTY-NOTICES /usr/share/doc/dicomweb-gateway/
COPY --from=build /build/licenses /usr/share/doc/dicomweb-gateway/licenses
# A volume that is mounted here for the first time is writable by the user of the image.
COPY --from=build --chown=65532:65532 /build/state /var/lib/dicomweb-gateway
# The configuration is mounted at this path, or comes from GATEWAY_… variables beside it. Nothing is written outside of volumes: run it
# with --read-only. The listener can be reached from outside of the container, so mode "open" also needs auth.allow_remote
# (GATEWAY_AUTH__ALLOW_REMOTE=true), which the image does not set: publish the port only to an authenticating proxy.
ENV GATEWAY_CONFIG=/etc/dicomweb-gateway/gateway.toml \
    GATEWAY_SERVER__LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s CMD ["/usr/local/bin/dicomweb-gateway", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/dicomweb-gateway"]
CMD ["serve"]
