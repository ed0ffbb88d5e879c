//! Which redirects the CA follows, as Boulder does it; nothing is asked here.

use reqwest::Url;
use thiserror::Error;

use crate::model::names::Identifier;

/// How many redirects Boulder follows for one validation.
const MOST: usize = 10;
/// Boulder refuses longer targets.
const LONGEST: usize = 2000;

/// Why the CA would not follow a redirect.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RedirectFault {
    /// None, or one that is no URL.
    #[error("it has no usable Location header")]
    Location,
    /// 303, which Boulder refuses.
    #[error("the CA follows 301, 302, 307 and 308 only")]
    Code,
    /// Something like ftp.
    #[error("the CA follows to http and https only")]
    Scheme,
    /// Anything but 80 and 443.
    #[error("the CA follows to ports 80 and 443 only")]
    Port,
    /// An address, which the CA asks although it may be anybody's.
    #[error("it leads to an address that is not the challenge's own")]
    Address,
    /// `localhost`, `_` and their like.
    #[error("the CA follows to names of the public DNS only")]
    Name,
    /// A page seen before.
    #[error("it leads in a circle")]
    Loop,
    /// More than the CA follows.
    #[error("it is one more than the 10 that the CA follows")]
    TooMany,
}

/// Whether a status is a redirect at all.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads; `trail` is every URL asked so far, the one that redirects last.
///
/// On refusal the target is returned as far as it is known, for the message.
pub fn follow(trail: &[Url], status: u16, location: Option<&[u8]>) -> Result<Url, (String, RedirectFault)> {
    let text = String::from_utf8_lossy(location.unwrap_or_default()).into_owned();
    let refuse = |why| Err((text.clone(), why));
    let Some(from) = trail.last().filter(|_| !text.is_empty() && text.len() <= LONGEST) else {
        return refuse(RedirectFault::Location);
    };
    let Ok(mut to) = from.join(&text) else {
        return refuse(RedirectFault::Location);
    };
    if status == 303 {
        return refuse(RedirectFault::Code);
    }
    if !matches!(to.scheme(), "http" | "https") {
        return refuse(RedirectFault::Scheme);
    }
    if !matches!(to.port_or_known_default(), Some(80 | 443)) {
        return refuse(RedirectFault::Port);
    }
    match to.domain() {
        // What a certificate for an address is validated by is asked for there.
        None if trail.first().is_some_and(|first| first.host() == to.host()) => {}
        None => return refuse(RedirectFault::Address),
        Some(domain) if !is_public(domain) => return refuse(RedirectFault::Name),
        Some(_) => {}
    }
    // What a browser would keep to itself or send as a password is not sent to anyone.
    to.set_fragment(None);
    let cleared = to.set_username("").and_then(|()| to.set_password(None));
    if cleared.is_err() {
        return refuse(RedirectFault::Location);
    }
    if trail.contains(&to) {
        return refuse(RedirectFault::Loop);
    }
    if trail.len() > MOST {
        return refuse(RedirectFault::TooMany);
    }
    Ok(to)
}

/// Boulder wants a name below a top-level domain, without a final dot.
fn is_public(domain: &str) -> bool {
    domain.contains('.') && domain.parse::<Identifier>().is_ok()
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::{RedirectFault, follow};

    fn from_page(status: u16, location: &str) -> Result<String, RedirectFault> {
        let trail = [Url::parse("http://www.example/.well-known/acme-challenge/t").unwrap()];
        follow(&trail, status, Some(location.as_bytes())).map(String::from).map_err(|(_, why)| why)
    }

    #[test]
    fn redirects_are_followed_where_the_ca_follows_them() {
        for (location, to) in [
            ("https://www.example/x", "https://www.example/x"),
            ("/other", "http://www.example/other"),
            ("//shop.example/x", "http://shop.example/x"),
            ("https://shop.example:443/x", "https://shop.example/x"),
            ("http://shop.example:443/x", "http://shop.example:443/x"),
            ("http://user:secret@www.example/x#part", "http://www.example/x"),
        ] {
            assert_eq!(from_page(301, location).as_deref(), Ok(to), "{location}");
        }
    }

    #[test]
    fn of_addresses_only_the_challenges_own_is_followed_to() {
        for own in ["192.0.2.9", "[2001:db8::9]"] {
            let trail = [Url::parse(&format!("http://{own}/.well-known/acme-challenge/t")).unwrap()];
            let to = |host: &str| follow(&trail, 301, Some(format!("https://{host}/x").as_bytes()));
            assert_eq!(to(own).map(String::from), Ok(format!("https://{own}/x")));
            assert_eq!(to("192.0.2.8").map_err(|(_, why)| why), Err(RedirectFault::Address));
        }
    }

    #[test]
    fn redirects_that_cannot_be_followed_say_why() {
        for (status, location, why) in [
            (302, "http://192.0.2.9/x", RedirectFault::Address),
            (302, "http://[2001:db8::9]/x", RedirectFault::Address),
            (302, "http://3221225993/x", RedirectFault::Address),
            (301, "https://_/x", RedirectFault::Name),
            (301, "http://localhost/x", RedirectFault::Name),
            (301, "http://www.example./x", RedirectFault::Name),
            (302, "http://www.example:8080/x", RedirectFault::Port),
            (302, "ftp://www.example/x", RedirectFault::Scheme),
            (302, "", RedirectFault::Location),
            (302, "http://", RedirectFault::Location),
            (302, "http://www.example/.well-known/acme-challenge/t", RedirectFault::Loop),
            (303, "http://www.example/x", RedirectFault::Code),
        ] {
            assert_eq!(from_page(status, location), Err(why), "{status} {location}");
        }
        assert_eq!(from_page(301, &format!("/{}", "x".repeat(3000))), Err(RedirectFault::Location));
    }

    #[test]
    fn ten_redirects_are_followed_and_no_more() {
        let page = |n: usize| Url::parse(&format!("http://www.example/{n}")).unwrap();
        let mut trail = vec![page(0)];
        for n in 1..=10 {
            trail.push(follow(&trail, 302, Some(format!("/{n}").as_bytes())).unwrap());
        }
        assert_eq!(follow(&trail, 302, Some(b"/11")).map_err(|(_, why)| why), Err(RedirectFault::TooMany));
    }
}
