//! What comes over the wire: banner, frames, messages in both directions.

use std::io::{self, Read};

use certcast::model::names::LineageName;
use certcast::peer::policy::{Grant, Role};
use certcast::primary::conversation::harmless;
use certcast::wire::banner;
use certcast::wire::frame::{self, FRAME_AT_MOST, FrameError};
use certcast::wire::message::{Reply, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{is_a_message, is_inert};

/// A stream that gives little at a time and counts what was taken.
struct Stream<'d> {
    data: &'d [u8],
    taken: usize,
    at_once: usize,
}

impl<'d> Stream<'d> {
    fn new(data: &'d [u8], at_once: usize) -> Self {
        Stream { data, taken: 0, at_once }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.data[self.taken..];
        let length = rest.len().min(buffer.len()).min(self.at_once);
        buffer[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        Ok(length)
    }
}

/// A banner is found behind at most 8 kB of noise, and of what follows it not one byte is taken.
pub fn banner(data: &[u8]) {
    const NOISE: usize = 8 * 1024;
    let mut stream = Stream::new(data, usize::MAX);
    let mut dripping = Stream::new(data, 1);
    let (found, again) = (banner::read(&mut stream), banner::read(&mut dripping));
    assert_eq!(format!("{found:?}"), format!("{again:?}"));
    assert_eq!(stream.taken, dripping.taken);
    assert!(stream.taken <= NOISE + 15 + 33, "{} bytes were taken", stream.taken);
    match found {
        Ok(()) => {
            let taken = &data[..stream.taken];
            let at = taken.windows(15).position(|bytes| bytes == b"\0certcast-wire ").expect("a banner was there");
            assert!(at <= NOISE && taken.ends_with(b"\n"));
            // Noise of another program before it changes nothing.
            let noisy = [b"Last login: today\n\x1b[0m".repeat(9), taken[at..].to_vec(), b"rest".to_vec()].concat();
            let mut rest = noisy.as_slice();
            assert!(banner::read(&mut rest).is_ok() && rest == b"rest");
        }
        Err(error) => is_a_message(&error),
    }
}

/// A frame takes its own bytes and no other, never more than is allowed, and not one is read of what is too long.
pub fn frame(data: &[u8]) {
    let mut stream = Stream::new(data, usize::MAX);
    let mut dripping = Stream::new(data, 3);
    let (read, again) = (frame::read::<Value>(&mut stream), frame::read::<Value>(&mut dripping));
    assert_eq!(format!("{read:?}"), format!("{again:?}"));
    let announced = data.first_chunk::<4>().map(|prefix| u32::from_be_bytes(*prefix) as usize);
    match read {
        Ok(_) | Err(FrameError::Malformed(_)) => {
            assert!(stream.taken <= FRAME_AT_MOST + 4);
            assert_eq!(Some(stream.taken), announced.map(|length| length + 4));
        }
        Err(FrameError::TooLarge(length)) => {
            assert!(length > FRAME_AT_MOST && Some(length) == announced && stream.taken == 4);
        }
        Err(FrameError::Closed) => assert!(data.is_empty()),
        Err(FrameError::Torn) => {
            assert!(announced.is_none_or(|length| length <= FRAME_AT_MOST && data.len() < length + 4));
        }
        Err(FrameError::Deadline | FrameError::Io(_)) => panic!("this stream does not break"),
    }
    if let Err(error) = &read {
        is_a_message(error);
    }
    // What it would be as the content of a frame, and cut anywhere.
    let mut whole = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    whole.extend(data);
    let read: Result<Value, _> = frame::read(&mut whole.as_slice());
    assert_eq!(read.is_ok(), data.len() <= FRAME_AT_MOST && serde_json::from_slice::<Value>(data).is_ok());
    for length in [1, 3, 4, whole.len() / 2, whole.len() - 1] {
        let cut: Result<Value, _> = frame::read(&mut &whole[..length.clamp(1, whole.len() - 1)]);
        assert!(matches!(cut, Err(FrameError::Torn | FrameError::TooLarge(_))));
    }
}

/// What it is when written and read again: the same.
fn is_read_back<M: Serialize + DeserializeOwned>(message: &M) -> Value {
    let value = serde_json::to_value(message).expect("a message is written");
    let framed = frame::encode(message).expect("a message that was read fits into a frame");
    let read: M = frame::read(&mut framed.as_slice()).expect("what was written is read");
    assert_eq!(serde_json::to_value(read).ok().as_ref(), Some(&value));
    value
}

/// A request reads back as the same, and a role has the verbs that it has, whatever else the request says.
pub fn request(data: &[u8]) {
    let request: Request = match serde_json::from_slice(data) {
        Ok(request) => request,
        Err(error) => {
            return is_a_message(&FrameError::Malformed(certcast::model::escape::escaped(&error.to_string())));
        }
    };
    let value = is_read_back(&request);
    let verb = value["verb"].as_str().expect("a request has a verb");
    let grant = |role| Grant { role, only: Vec::new(), accounts: Vec::new(), allow_force: false };
    let for_challenges = ["hello", "publish", "withdraw"].contains(&verb);
    assert_eq!(grant(Role::Challenge).allows(&request).is_ok(), for_challenges, "{verb}");
    assert!(grant(Role::Deploy).allows(&request).is_ok() && grant(Role::Own).allows(&request).is_ok());
    // A key for one lineage is for no other.
    let own: LineageName = "the-key-s-own.test".parse().expect("a name");
    let grant = Grant { role: Role::Deploy, only: vec![own.clone()], accounts: Vec::new(), allow_force: false };
    let asked: Vec<_> = match &request {
        Request::Compare { lineages } | Request::Recall { lineages, .. } => lineages.iter().collect(),
        Request::Prepare { offers, .. } => offers.iter().map(|offer| &offer.lineage).collect(),
        _ => Vec::new(),
    };
    for lineage in asked {
        super::is_a_file_name(lineage.as_str());
        assert_eq!(grant.allows_lineage(lineage).is_ok(), *lineage == own);
    }
}

/// A reply reads back as the same, and what the primary makes of it is inert and bounded in each of its texts.
pub fn reply(data: &[u8]) {
    let Ok(reply) = serde_json::from_slice::<Reply>(data) else { return };
    is_read_back(&reply);
    let harmless = serde_json::to_value(harmless(reply)).expect("a reply is written");
    all_inert(&harmless);
    assert!(harmless.to_string().len() < 16 << 20);
}

fn all_inert(value: &Value) {
    match value {
        Value::String(text) => assert!(is_inert(text) && text.chars().count() < 25_000, "{text:?}"),
        Value::Array(values) => values.iter().for_each(all_inert),
        Value::Object(fields) => fields.values().for_each(all_inert),
        _ => {}
    }
}
