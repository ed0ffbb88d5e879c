//! `email`: a mail over SMTP. With a login only over TLS; without one with TLS where the server has it.

use std::fmt::Display;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox as Party, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{SmtpTransport, Transport};
use reqwest::Url;

use super::notice::Notice;
use super::route::SendError;
use crate::model::config::Mailbox;
use crate::model::deadline::Deadline;

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

/// Some in one mail.
pub fn send(envelope: &Envelope<'_>, notices: &[Notice], deadline: Deadline) -> Result<(), SendError> {
    let mail = mail(envelope, notices).map_err(|error| SendError::Refused(error.to_string()))?;
    let transport = transport(envelope, deadline).map_err(|error| SendError::Unreached(error.to_string()))?;
    match transport.send(&mail) {
        Ok(_) => Ok(()),
        // Also for ever: a server that refuses us today (RFC 5321 section 4.2.1).
        Err(error) if error.is_permanent() => Err(SendError::Refused(told(&error))),
        Err(error) => Err(SendError::Unreached(told(&error))),
    }
}

fn told(error: &dyn std::error::Error) -> String {
    let causes: Vec<String> =
        std::iter::successors(Some(error), |&cause| cause.source()).map(ToString::to_string).collect();
    crate::model::escape::escaped(&causes.join(": "))
}

fn transport(envelope: &Envelope<'_>, deadline: Deadline) -> Result<SmtpTransport, lettre::transport::smtp::Error> {
    let server = envelope.server;
    let host = server.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let is_within_tls = server.scheme() == "smtps";
    let port = server.port().unwrap_or(if is_within_tls { PORTS.1 } else { PORTS.0 });
    let parameters = TlsParameters::new(host.clone())?;
    let tls = match (is_within_tls, envelope.login) {
        (true, _) => Tls::Wrapper(parameters),
        (false, Some(_)) => Tls::Required(parameters),
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
    let subject = match notices {
        [one] => one.title(),
        several => format!("{} messages", several.len()),
    };
    let id = notices.first().map_or("", |notice| notice.id.as_str());
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
