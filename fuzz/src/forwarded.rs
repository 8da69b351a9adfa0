//! The public address of the gateway, out of `Forwarded` (RFC 7239), `X-Forwarded-…` and `Host`: always a legal base of links, and
//! never by the word of anybody but a trusted proxy.

use std::net::{IpAddr, Ipv4Addr};

use dicomweb_gateway::http::forwarded::{PublicBase, PublicUrl};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};
use url::Url;

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const FORWARDED: &str = "forwarded";
const FIELDS: [&str; 6] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
];

/// Checks the header fields of a request, `name: value` on each line, other lines being nothing.
pub fn check(text: &[u8]) {
    let fields: Vec<_> = text.split(|byte| *byte == b'\n').filter_map(field).collect();
    for is_secure in [false, true] {
        let gateway = PublicUrl {
            fixed: None,
            trusted_proxies: ["10.0.0.0/8", "fd00::/8"]
                .map(|network| network.parse().expect("a network"))
                .to_vec(),
            is_secure,
        };
        let as_sent = gateway.of(&request(&fields), CLIENT);
        let as_forwarded = gateway.of(&request(&fields), PROXY);
        for base in [&as_sent, &as_forwarded].into_iter().flatten() {
            check_base(base);
        }
        let unforwarded: Vec<_> =
            fields.iter().filter(|(name, _)| !FIELDS.contains(&name.as_str())).cloned().collect();
        assert_eq!(as_sent, gateway.of(&request(&unforwarded), CLIENT), "a client is believed");
        let fixed = PublicBase::parse("https://fixed.example/gateway").expect("a base");
        let configured = PublicUrl { fixed: Some(fixed.clone()), ..gateway.clone() };
        assert_eq!(
            configured.of(&request(&fields), PROXY),
            Some(fixed),
            "what is configured is not what counts"
        );
        check_behind_proxy(&gateway, &fields);
    }
}

type Field = (HeaderName, HeaderValue);

fn field(line: &[u8]) -> Option<Field> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

fn request(fields: &[Field]) -> Parts {
    let mut request = Request::get("/fhir/metadata");
    for (name, value) in fields {
        request = request.header(name, value);
    }
    request.body(()).expect("a request").into_parts().0
}

/// `scheme://host[:port][/prefix]`, which reads the same wherever it is read.
fn check_base(base: &PublicBase) {
    assert_eq!(
        PublicBase::parse(base.as_str()).as_ref(),
        Ok(base),
        "it would be refused if it were configured"
    );
    let url = Url::parse(base.as_str()).unwrap_or_else(|error| panic!("{base}: {error}"));
    assert!(matches!(url.scheme(), "http" | "https") && url.has_host(), "{base} is no base of links");
    assert!(url.username().is_empty() && url.password().is_none(), "{base} names a user");
    assert!(url.query().is_none() && url.fragment().is_none(), "{base} has more than a path");
    assert_eq!(url.path().trim_end_matches('/'), base.prefix(), "the prefix is read in another way");
    let link = url.join(&format!("{}/fhir/Patient", base.prefix())).expect("a link");
    assert_eq!(link.origin(), url.origin(), "a link leads elsewhere");
}

/// What a client sends does not change what a trusted proxy adds to it: only the prefix, which has no list, is the proxy's to remove.
fn check_behind_proxy(gateway: &PublicUrl, of_client: &[Field]) {
    let is_no_prefix = |(name, _): &&Field| name != "x-forwarded-prefix";
    let is_older = |(name, _): &&Field| name != FORWARDED;
    let added = |fields: &[(&'static str, &'static str)]| -> Vec<Field> {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    };
    let host_of =
        |fields: Vec<Field>| gateway.of(&request(&fields), PROXY).map(|base| base.as_str().to_owned());
    // RFC 7239, as a field of its own and at the end of the client's.
    let element = "for=203.0.113.9;proto=https;host=gateway.example";
    let mut fields: Vec<_> = of_client.iter().filter(is_no_prefix).cloned().collect();
    fields.extend(added(&[(FORWARDED, element)]));
    assert_eq!(
        host_of(fields).as_deref(),
        Some("https://gateway.example"),
        "a client is believed behind a proxy"
    );
    let lists = of_client.iter().filter(|(name, _)| name == FORWARDED).map(|(_, value)| value.to_str().ok());
    if let Some(lists) = lists.collect::<Option<Vec<_>>>() {
        let joined = [lists.join(", "), element.to_owned()].join(", ");
        let mut fields: Vec<_> = of_client.iter().filter(is_no_prefix).filter(is_older).cloned().collect();
        fields.push((HeaderName::from_static(FORWARDED), HeaderValue::from_str(&joined).expect("text")));
        assert_eq!(
            host_of(fields).as_deref(),
            Some("https://gateway.example"),
            "a list of a client is believed"
        );
    }
    // The older fields.
    let mut fields: Vec<_> = of_client.iter().filter(is_no_prefix).filter(is_older).cloned().collect();
    fields.extend(added(&[
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "gateway.example"),
        ("x-forwarded-port", "8443"),
    ]));
    assert_eq!(
        host_of(fields).as_deref(),
        Some("https://gateway.example:8443"),
        "a client is believed behind a proxy"
    );
}
