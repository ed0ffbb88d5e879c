//! Redirects of web servers.

use certcast::model::escape::escaped;
use certcast::primary::proof::redirect::follow;
use reqwest::Url;

use super::{is_a_message, is_inert};

const FIRST: &str = "http://www.example/.well-known/acme-challenge/t";

/// A status, the pages asked before and a `Location`, by lines: what is followed, the CA follows too, and it ends.
pub fn redirect(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse().ok()).unwrap_or(302);
    let Some(location) = lines.next() else { return };
    let mut trail = vec![Url::parse(FIRST).expect("a URL")];
    trail.extend(lines.filter_map(|line| Url::parse(std::str::from_utf8(line).ok()?).ok()));
    match follow(&trail, status, Some(location)) {
        Ok(to) => is_followed_by_the_ca(&to, &trail, status, location),
        Err((text, why)) => {
            is_a_message(&why);
            assert!(is_inert(&escaped(&text)));
        }
    }
    // Following the same again and again ends, since it is a circle.
    for _ in 0..12 {
        match follow(&trail, status, Some(location)) {
            Ok(to) => trail.push(to),
            Err(_) => return,
        }
    }
    panic!("an eleventh redirect is followed");
}

/// Boulder's rules (va/http.go), by the text of the URL.
fn is_followed_by_the_ca(to: &Url, trail: &[Url], status: u16, location: &[u8]) {
    assert_ne!(status, 303);
    let text = to.as_str();
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).expect("http or https");
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    assert!(!authority.contains('@') && !text.contains('#'), "{text}");
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    assert!(matches!(port, "80" | "443"), "{text}");
    assert!(!host.is_empty() && !host.starts_with('['), "{text}");
    assert!(host.parse::<std::net::Ipv4Addr>().is_err(), "{text}");
    assert!(text.is_ascii() && !text.contains(|c: char| c.is_ascii_control() || c == ' '), "{text:?}");
    assert!(location.len() <= 2000 && trail.len() <= 10 && !trail.contains(to));
    assert_eq!(Url::parse(text).ok().as_ref(), Some(to), "read again it is another");
}
