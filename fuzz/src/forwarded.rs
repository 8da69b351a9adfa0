//! The public base URL of the gateway according to `Forwarded` (RFC 7239), `X-Forwarded-…` and `Host`: it is always a valid base of
//! links, and only trusted proxies change it.

use std::net::{IpAddr, Ipv4Addr};

use dicomweb_gateway::http::forwarded::{PublicBase, PublicUrl};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};
use url::Url;

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const FORWARDED: &str = "forwarded";
const FORWARDING_FIELDS: [&str; 6] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
];

/// Checks the header fields of a request: one `name: value` per line; other lines are ignored.
pub fn check(text: &[u8]) {
    let fields: Vec<_> = text.split(|byte| *byte == b'\n').filter_map(parse_field).collect();
    for is_secure in [false, true] {
        let gateway = PublicUrl {
            fixed: None,
            trusted_proxies: ["10.0.0.0/8", "fd00::/8"]
                .map(|network| network.parse().expect("a network"))
                .to_vec(),
            is_secure,
        };
        let direct = gateway.base_of(&request(&fields), CLIENT);
        let proxied = gateway.base_of(&request(&fields), PROXY);
        for base in [&direct, &proxied].into_iter().flatten() {
            check_base(base);
        }
        let unforwarded_fields: Vec<_> =
            fields.iter().filter(|(name, _)| !FORWARDING_FIELDS.contains(&name.as_str())).cloned().collect();
        assert_eq!(
            direct,
            gateway.base_of(&request(&unforwarded_fields), CLIENT),
            "a header of an untrusted client is used"
        );
        let fixed = PublicBase::parse("https://fixed.example/gateway").expect("a base");
        let configured = PublicUrl { fixed: Some(fixed.clone()), ..gateway.clone() };
        assert_eq!(
            configured.base_of(&request(&fields), PROXY),
            Some(fixed),
            "the configured public URL is not used"
        );
        check_behind_proxy(&gateway, &fields);
    }
}

type Field = (HeaderName, HeaderValue);

fn parse_field(line: &[u8]) -> Option<Field> {
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

/// Checks that a base is `scheme://host[:port][/prefix]`, which every parser reads in the same way.
fn check_base(base: &PublicBase) {
    assert_eq!(
        PublicBase::parse(base.as_str()).as_ref(),
        Ok(base),
        "the base is not valid as a configured public URL"
    );
    let url = Url::parse(base.as_str()).unwrap_or_else(|error| panic!("{base}: {error}"));
    assert!(matches!(url.scheme(), "http" | "https") && url.has_host(), "{base} is not a base of links");
    assert!(url.username().is_empty() && url.password().is_none(), "{base} contains credentials");
    assert!(url.query().is_none() && url.fragment().is_none(), "{base} has a query or a fragment");
    assert_eq!(url.path().trim_end_matches('/'), base.prefix(), "the path is not the prefix");
    let link = url.join(&format!("{}/fhir/Patient", base.prefix())).expect("a link");
    assert_eq!(link.origin(), url.origin(), "a link has another origin");
}

/// Checks that the fields of a client do not override those that a trusted proxy adds. The prefix is an exception: its field is not
/// a list, so the proxy must remove it.
fn check_behind_proxy(gateway: &PublicUrl, client_fields: &[Field]) {
    let is_not_prefix = |(name, _): &&Field| name != "x-forwarded-prefix";
    let is_not_forwarded = |(name, _): &&Field| name != FORWARDED;
    let to_fields = |fields: &[(&'static str, &'static str)]| -> Vec<Field> {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    };
    let public_base =
        |fields: Vec<Field>| gateway.base_of(&request(&fields), PROXY).map(|base| base.as_str().to_owned());
    // Forwarded (RFC 7239) as an additional field, and as the last element of the client's field.
    let element = "for=203.0.113.9;proto=https;host=gateway.example";
    let mut fields: Vec<_> = client_fields.iter().filter(is_not_prefix).cloned().collect();
    fields.extend(to_fields(&[(FORWARDED, element)]));
    assert_eq!(
        public_base(fields).as_deref(),
        Some("https://gateway.example"),
        "a header of a client overrides that of the proxy"
    );
    let lists =
        client_fields.iter().filter(|(name, _)| name == FORWARDED).map(|(_, value)| value.to_str().ok());
    if let Some(lists) = lists.collect::<Option<Vec<_>>>() {
        let joined = [lists.join(", "), element.to_owned()].join(", ");
        let mut fields: Vec<_> =
            client_fields.iter().filter(is_not_prefix).filter(is_not_forwarded).cloned().collect();
        fields.push((HeaderName::from_static(FORWARDED), HeaderValue::from_str(&joined).expect("text")));
        assert_eq!(
            public_base(fields).as_deref(),
            Some("https://gateway.example"),
            "an element of a client overrides that of the proxy"
        );
    }
    // The X-Forwarded fields.
    let mut fields: Vec<_> =
        client_fields.iter().filter(is_not_prefix).filter(is_not_forwarded).cloned().collect();
    fields.extend(to_fields(&[
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "gateway.example"),
        ("x-forwarded-port", "8443"),
    ]));
    assert_eq!(
        public_base(fields).as_deref(),
        Some("https://gateway.example:8443"),
        "a header of a client overrides that of the proxy"
    );
}
