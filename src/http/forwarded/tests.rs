use super::*;
use http::Request;
use proptest::prelude::*;

const PROXY: &str = "10.0.0.1";
const UNTRUSTED: &str = "203.0.113.9";

fn base(peer: &str, headers: &[(&str, &str)]) -> String {
    let public_url = PublicUrl {
        fixed: None,
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()],
        is_secure: false,
    };
    let request =
        headers.iter().fold(Request::get("/fhir"), |request, (name, value)| request.header(*name, *value));
    let (parts, ()) = request.body(()).unwrap().into_parts();
    public_url.base_of(&parts, peer.parse().unwrap()).map_or_else(String::new, |base| base.to_string())
}

#[test]
fn a_configured_base_url_is_used_regardless_of_the_request() {
    let fixed = PublicBase::parse("https://imaging.example.org/gw").unwrap();
    let public_url = PublicUrl {
        fixed: Some(fixed.clone()),
        trusted_proxies: vec!["0.0.0.0/0".parse().unwrap()],
        is_secure: true,
    };
    let request =
        Request::get("/").header("host", "evil").header("x-forwarded-host", "evil").body(()).unwrap();
    assert_eq!(public_url.base_of(&request.into_parts().0, PROXY.parse().unwrap()), Some(fixed.clone()));
    assert_eq!(fixed.prefix(), "/gw");
}

#[test]
fn fields_are_used_only_from_a_trusted_proxy() {
    let headers = [
        ("host", "own:8080"),
        ("forwarded", "for=1.2.3.4;proto=https;host=evil"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/evil"),
    ];
    assert_eq!(base(UNTRUSTED, &headers), "http://own:8080");
    assert_eq!(base(PROXY, &headers), "https://evil/evil");
}

#[test]
fn the_older_fields_report_scheme_host_port_and_prefix() {
    for (headers, expected) in [
        (&[("host", "inner"), ("x-forwarded-proto", "https")][..], "https://inner"),
        (&[("host", "inner"), ("x-forwarded-host", "Outer.example")], "http://outer.example"),
        (
            &[("host", "inner:81"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "443")],
            "https://inner",
        ),
        (&[("host", "inner:81"), ("x-forwarded-port", "8443")], "http://inner:8443"),
        (&[("host", "[::1]:81"), ("x-forwarded-port", "82")], "http://[::1]:82"),
        (&[("host", "inner"), ("x-forwarded-prefix", "/imaging/v1/")], "http://inner/imaging/v1"),
        (&[("host", "inner"), ("x-forwarded-prefix", "/")], "http://inner"),
        (&[("host", "inner"), ("x-forwarded-for", "1.2.3.4"), ("x-forwarded-host", "outer")], "http://outer"),
    ] {
        assert_eq!(base(PROXY, headers), expected, "{headers:?}");
    }
}

#[test]
fn the_entry_of_the_outermost_trusted_proxy_is_used() {
    // The client sent the first entries; the outer proxy (10.0.0.2) and the inner proxy (10.0.0.1) each added an entry.
    let headers = [
        ("host", "inner"),
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.2"),
        ("x-forwarded-host", "evil, outer, middle"),
        ("x-forwarded-proto", "ftp, https, http"),
    ];
    assert_eq!(base(PROXY, &headers), "https://outer");
    let headers = [
        ("host", "inner"),
        ("forwarded", "for=6.6.6.6;host=evil, for=203.0.113.9;host=outer;proto=https"),
        ("forwarded", "for=\"10.0.0.2:4711\";host=middle;proto=http"),
    ];
    assert_eq!(base(PROXY, &headers), "https://outer");
    let unknown = [("host", "inner"), ("forwarded", "for=6.6.6.6;host=evil, for=unknown;host=outer")];
    assert_eq!(base(PROXY, &unknown), "http://outer");
}

#[test]
fn parts_that_violate_their_grammar_are_ignored() {
    for (name, value) in [
        ("x-forwarded-host", "a/../b"),
        ("x-forwarded-host", "good@evil"),
        ("x-forwarded-host", "a b"),
        ("x-forwarded-proto", "javascript"),
        ("x-forwarded-port", "80/x"),
        ("x-forwarded-port", "0"),
        ("x-forwarded-prefix", "//evil"),
        ("x-forwarded-prefix", "/a/../b"),
        ("x-forwarded-prefix", "/a\\b"),
        ("x-forwarded-prefix", "https://evil"),
        ("x-forwarded-prefix", "/a%2e"),
        ("x-forwarded-prefix", "/a, /b"),
        ("x_forwarded_host", "evil"),
        ("x.forwarded.host", "evil"),
        ("forwarded", "host=\"a/b\""),
        ("forwarded", "host"),
    ] {
        assert_eq!(base(PROXY, &[("host", "inner"), (name, value)]), "http://inner", "{name}: {value}");
    }
}

#[test]
fn only_a_url_that_links_can_begin_with_is_a_public_base() {
    for valid in ["http://a", "https://a.b:8443/x/y-z", "http://[::1]:80"] {
        assert_eq!(PublicBase::parse(valid).unwrap().as_str(), valid);
    }
    for invalid in [
        "",
        "a.b",
        "ftp://a",
        "http://",
        "http://a/",
        "http://a//b",
        "http://u:p@a",
        "http://a?x",
        "http://a#x",
    ] {
        assert_eq!(PublicBase::parse(invalid), Err(PublicBaseError), "{invalid}");
    }
}

proptest! {
    #[test]
    fn the_base_url_is_valid_for_all_fields(
        host in "[ -~]{0,20}", proto in "[ -~]{0,8}", port in "[ -~]{0,6}", prefix in "[ -~]{0,20}", forwarded in "[ -~]{0,40}",
        with_forwarded: bool,
    ) {
        let mut headers = vec![
            ("host", "inner"), ("x-forwarded-host", host.as_str()), ("x-forwarded-proto", proto.as_str()),
            ("x-forwarded-port", port.as_str()), ("x-forwarded-prefix", prefix.as_str()),
        ];
        if with_forwarded {
            headers.push(("forwarded", forwarded.as_str()));
        }
        let base = base(PROXY, &headers);
        let parsed = PublicBase::parse(&base).unwrap();
        prop_assert_eq!(parsed.as_str(), base.as_str());
        prop_assert!(url::Url::parse(&base).unwrap().username().is_empty());
    }

    #[test]
    fn fields_of_an_untrusted_peer_are_ignored(host in "[ -~]{0,20}", forwarded in "[ -~]{0,40}") {
        let headers = [("host", "inner"), ("x-forwarded-host", host.as_str()), ("forwarded", forwarded.as_str())];
        prop_assert_eq!(base(UNTRUSTED, &headers), "http://inner");
    }
}
