//! `telegraf`: `InfluxDB`'s line protocol, over HTTP, UDP or a unix socket.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::unix::net::{UnixDatagram, UnixStream};

use reqwest::Url;

use super::http::{self, Post};
use super::notice::{Notice, Trouble, severity_word, word};
use super::route::SendError;
use crate::model::config::Event;
use crate::model::deadline::Deadline;

const MEASUREMENT: &str = "certcast";

/// One point a notice.
pub fn send(url: &Url, secret: Option<&str>, notices: &[Notice], deadline: Deadline) -> Result<(), SendError> {
    let lines: Vec<String> = notices.iter().flat_map(points).collect();
    match url.scheme() {
        // A name that is looked up, and a socket whose owner sleeps, have no time of their own.
        "udp" => http::in_time(deadline, {
            let url = url.clone();
            move || over_udp(&url, &lines)
        }),
        "unix" => http::in_time(deadline, {
            let url = url.clone();
            move || over_unix(&url, &lines, deadline)
        }),
        _ => {
            let headers = secret.map(|secret| ("Authorization", format!("Token {secret}"))).into_iter().collect();
            let body = lines.concat().into_bytes();
            http::post(
                Post { url, content_type: "text/plain; charset=utf-8", body, headers, is_secret: false },
                deadline,
            )
        }
    }
}

/// Nobody answers over UDP: what was sent counts as arrived.
fn over_udp(url: &Url, lines: &[String]) -> Result<(), SendError> {
    let to = (url.host_str().unwrap_or_default().trim_matches(['[', ']']), url.port().unwrap_or_default());
    let send = || {
        let own = if to.0.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(own)?;
        lines.iter().try_for_each(|line| socket.send_to(line.as_bytes(), to).map(drop))
    };
    send().map_err(|error: std::io::Error| SendError::Unreached(error.to_string()))
}

/// Telegraf's `socket_listener` has either kind.
fn over_unix(url: &Url, lines: &[String], deadline: Deadline) -> Result<(), SendError> {
    let left = deadline.left().max(std::time::Duration::from_millis(1));
    let path = url.path();
    let send = || {
        let datagrams = UnixDatagram::unbound()?;
        datagrams.set_write_timeout(Some(left))?;
        if datagrams.connect(path).is_ok() {
            return lines.iter().try_for_each(|line| datagrams.send(line.as_bytes()).map(drop));
        }
        let mut stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(left))?;
        stream.write_all(lines.concat().as_bytes())
    };
    send().map_err(|error: std::io::Error| SendError::Unreached(format!("{path}: {error}")))
}

/// The tags are the same for a trouble and its end, so that both are one series; a trouble that came up at another step is
/// another series, and the former one ends.
fn points(notice: &Notice) -> Vec<String> {
    let former = notice.before.as_ref().filter(|before| notice.state == 1 && before.step != notice.trouble.step);
    let end = former.map(|before| {
        let trouble = Trouble { step: before.step, event: Event::Recovered, ..notice.trouble.clone() };
        Notice { state: 0, trouble, ..notice.clone() }
    });
    end.iter().chain([notice]).map(line).collect()
}

fn line(notice: &Notice) -> String {
    let subject = &notice.subject;
    let mut line = format!(
        "{MEASUREMENT},kind={},node={},lineage={}",
        subject.kind.word(),
        tag(subject.node.as_str()),
        tag(&subject.lineage)
    );
    if let Some(step) = notice.trouble.step {
        _ = write!(line, ",step={step}");
    }
    _ = write!(
        line,
        " state={}i,event=\"{}\",severity=\"{}\",cause=\"{}\"",
        notice.state,
        word(notice.trouble.event),
        severity_word(notice.trouble.severity),
        field(&notice.trouble.cause)
    );
    if let Some(days) = notice.trouble.days_left {
        _ = write!(line, ",days_left={days}i");
    }
    _ = writeln!(line, " {}", notice.time.as_nanosecond());
    line
}

fn tag(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ ")
}

fn field(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ")
}
