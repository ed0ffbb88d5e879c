//! `email`: a mail over SMTP. With a login only over TLS; without one with TLS where the server has it.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox as Party, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, SmtpTransport, Transport};
use reqwest::Url;

use super::http;
use super::notice::Notice;
use super::route::SendError;
use crate::model::config::Mailbox;
use crate::model::deadline::Deadline;
use crate::model::digest::Digest;
use crate::model::escape::escaped;
use crate::model::some_of::grouped;
use crate::sys::parallel::in_parallel;

/// Servers let one client have few connections.
const AT_ONCE: usize = 3;
/// The usual ports of SMTP, and of SMTP within TLS (RFC 8314).
const PORTS: (u16, u16) = (25, 465);

/// Whereby, from whom and to whom.
pub struct Envelope<'e> {
    /// The server.
    pub server: &'e Url,
    /// The sender.
    pub from: &'e Mailbox,
    /// The recipients.
    pub to: &'e [Mailbox],
    /// User and password.
    pub login: Option<(&'e str, &'e str)>,
}

/// Some in one mail, to a few at once: one recipient who is refused or slow costs no other one the mail.
pub fn send(envelope: &Envelope<'_>, notices: &[Notice], deadline: Deadline) -> Result<(), SendError> {
    let refused = |error: &dyn Display| SendError::Refused(escaped(&error.to_string()));
    let mail = Arc::new(mail(envelope, notices).map_err(|error| refused(&error))?.formatted());
    let transport = transport(envelope, deadline).map_err(|error| SendError::Unreached(told(&error)))?;
    let address = |mailbox: &Mailbox| mailbox.as_str().parse().map_err(|error| refused(&error));
    let from: Address = address(envelope.from)?;
    let recipients = envelope.to.iter().map(address).collect::<Result<Vec<Address>, _>>()?;
    let rests: Vec<_> = (0..recipients.len()).map(|at| &recipients[at..]).collect();
    let went = in_parallel(&rests, AT_ONCE, |rest| {
        let (transport, from, to, mail) = (transport.clone(), from.clone(), rest[0].clone(), Arc::clone(&mail));
        let turns = u32::try_from(rest.len().div_ceil(AT_ONCE)).unwrap_or(u32::MAX);
        // A server may be slow with each word, and with the handshake.
        let turn = deadline.at_most(deadline.left() / turns);
        (&rest[0], http::in_time(turn, move || send_to(&transport, from, to, &mail)))
    });
    conclude(went)
}

fn send_to(transport: &SmtpTransport, from: Address, to: Address, mail: &[u8]) -> Result<(), SendError> {
    let envelope = lettre::address::Envelope::new(Some(from), vec![to]);
    let envelope = envelope.map_err(|error| SendError::Refused(told(&error)))?;
    match transport.send_raw(&envelope, mail) {
        Ok(_) => Ok(()),
        // Also for ever: a server that refuses us today (RFC 5321 section 4.2.1).
        Err(error) if error.is_permanent() => Err(SendError::Refused(told(&error))),
        Err(error) => Err(SendError::Unreached(told(&error))),
    }
}

/// As long as nobody has it, it can be sent again to all of them.
fn conclude(went: Vec<(&Address, Result<(), SendError>)>) -> Result<(), SendError> {
    let all = went.len();
    let failed: Vec<_> = went.into_iter().filter_map(|(to, went)| went.err().map(|error| (error, to))).collect();
    let (count, is_refused) = (failed.len(), failed.iter().all(|(error, _)| matches!(error, SendError::Refused(_))));
    let causes = grouped(failed.into_iter().map(|(error, to)| (error.to_string(), to.to_string()))).into_iter();
    let text = causes.map(|(cause, to)| format!("{}: {cause}", to.join(", "))).collect::<Vec<_>>().join("; ");
    match count {
        0 => Ok(()),
        some if some < all => Err(SendError::Partly(format!("the others took it, but not {text}"))),
        _ => Err(if is_refused { SendError::Refused(text) } else { SendError::Unreached(text) }),
    }
}

fn told(error: &dyn std::error::Error) -> String {
    let causes: Vec<String> =
        std::iter::successors(Some(error), |&cause| cause.source()).map(ToString::to_string).collect();
    escaped(&causes.join(": "))
}

fn transport(envelope: &Envelope<'_>, deadline: Deadline) -> Result<SmtpTransport, lettre::transport::smtp::Error> {
    let server = envelope.server;
    let host = server.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let is_within_tls = server.scheme() == "smtps";
    let port = server.port().unwrap_or(if is_within_tls { PORTS.1 } else { PORTS.0 });
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    // Without a password there is nothing to lose to who stands in between, and most such servers have a certificate of their own
    // making.
    let is_open = envelope.login.is_none() && !is_within_tls;
    let parameters = TlsParameters::builder(host.clone()).dangerous_accept_invalid_certs(is_open).build()?;
    let tls = match (is_within_tls, envelope.login) {
        (true, _) => Tls::Wrapper(parameters),
        (false, Some(_)) => Tls::Required(parameters),
        (false, None) if is_local => Tls::None,
        (false, None) => Tls::Opportunistic(parameters),
    };
    let mut builder = SmtpTransport::builder_dangerous(host).port(port).tls(tls).timeout(Some(deadline.left()));
    if let Some((user, password)) = envelope.login {
        builder = builder.credentials(Credentials::new(user.to_owned(), password.to_owned()));
    }
    Ok(builder.build())
}

fn mail(envelope: &Envelope<'_>, notices: &[Notice]) -> Result<Message, Box<dyn Display>> {
    let unfit = |error: &dyn Display| -> Box<dyn Display> { Box::new(error.to_string()) };
    let party = |mailbox: &Mailbox| mailbox.as_str().parse::<Party>().map_err(|error| unfit(&error));
    let subject = Notice::titles(notices);
    let all: String = notices.iter().map(|notice| notice.id.as_str()).collect();
    let id = Digest::of(all.as_bytes());
    let text: Vec<String> = notices.iter().map(Notice::text).collect();
    // An answer by a machine is wanted by nobody (RFC 3834).
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let mut message = Message::builder()
        .from(party(envelope.from)?)
        .subject(format!("[certcast] {subject}"))
        .message_id(Some(format!("<{id}@certcast.invalid>")))
        .date_now()
        .header(ContentType::TEXT_PLAIN)
        .raw_header(automatic);
    for recipient in envelope.to {
        message = message.to(party(recipient)?);
    }
    message.body(text.join("\n\n") + "\n").map_err(|error| unfit(&error))
}
