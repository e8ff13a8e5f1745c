//! Frames of Phoenix Channels: V2 arrays, V1 objects, binary pushes.
//!
//! References may be any JSON scalar of the client, and are echoed byte for byte.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    sync::{Arc, OnceLock},
};

use serde::{
    Deserialize,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use tungstenite::Utf8Bytes;

/// The serializer of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vsn {
    /// Objects `{topic, event, payload, ref, join_ref}`.
    V1,
    /// Arrays `[join_ref, ref, topic, event, payload]`.
    V2,
}

/// A reference chosen by the client, as its JSON text; `None` is null.
pub(crate) type Ref = Option<Arc<str>>;

/// A decoded client push.
#[derive(Debug)]
pub(crate) struct Push<'a> {
    pub(crate) join_ref: Ref,
    pub(crate) reference: Ref,
    pub(crate) topic: Cow<'a, str>,
    pub(crate) event: Cow<'a, str>,
    pub(crate) payload: Payload<'a>,
}

/// The payload of a push.
#[derive(Debug)]
pub(crate) enum Payload<'a> {
    Json(&'a RawValue),
    Binary,
}

impl Payload<'_> {
    /// Parses the payload as `T`; `None` if it is binary or of another shape.
    pub(crate) fn parse<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        match self {
            Self::Json(raw) => serde_json::from_str(raw.get()).ok(),
            Self::Binary => None,
        }
    }
}

/// The error of a frame outside this protocol: the socket is closed with 1011, as Phoenix does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Decodes a text frame.
pub(crate) fn decode_text(vsn: Vsn, text: &str) -> Result<Push<'_>, Malformed> {
    match vsn {
        Vsn::V2 => {
            let parts: V2 = serde_json::from_str(text).map_err(|_| Malformed)?;
            Ok(parts.0)
        }
        Vsn::V1 => {
            let v1: V1 = serde_json::from_str(text).map_err(|_| Malformed)?;
            Ok(Push {
                join_ref: reference(v1.join_ref)?,
                reference: reference(v1.reference)?,
                topic: v1.topic,
                event: v1.event,
                payload: Payload::Json(v1.payload),
            })
        }
    }
}

/// Decodes a binary push: kind 0, four lengths of one byte, the four strings, the data.
pub(crate) fn decode_binary(bytes: &[u8]) -> Result<Push<'_>, Malformed> {
    let (head, mut rest) = bytes.split_at_checked(5).ok_or(Malformed)?;
    if head[0] != 0 {
        return Err(Malformed);
    }
    let mut next = |length: u8| {
        let (part, tail) = rest
            .split_at_checked(usize::from(length))
            .ok_or(Malformed)?;
        rest = tail;
        std::str::from_utf8(part).map_err(|_| Malformed)
    };
    let join_ref = next(head[1])?;
    let reference = next(head[2])?;
    let topic = next(head[3])?;
    let event = next(head[4])?;
    let quoted = |r: &str| (!r.is_empty()).then(|| Arc::from(quote(r)));
    Ok(Push {
        join_ref: quoted(join_ref),
        reference: quoted(reference),
        topic: Cow::Borrowed(topic),
        event: Cow::Borrowed(event),
        payload: Payload::Binary,
    })
}

/// Encodes a frame to a client. `payload` is JSON text.
pub(crate) fn encode(
    vsn: Vsn,
    join_ref: Option<&str>,
    reference: Option<&str>,
    topic: &str,
    event: &str,
    payload: &str,
) -> Utf8Bytes {
    let topic = quote(topic);
    let event = quote(event);
    let join_ref = join_ref.unwrap_or("null");
    let reference = reference.unwrap_or("null");
    let mut out = String::with_capacity(64 + topic.len() + event.len() + payload.len());
    let written = match vsn {
        Vsn::V2 => write!(out, "[{join_ref},{reference},{topic},{event},{payload}]"),
        Vsn::V1 => write!(
            out,
            r#"{{"join_ref":{join_ref},"ref":{reference},"topic":{topic},"event":{event},"payload":{payload}}}"#
        ),
    };
    written.expect("writing to a string does not fail");
    out.into()
}

/// Encodes a `phx_reply`; `response` is JSON text.
pub(crate) fn encode_reply(
    vsn: Vsn,
    join_ref: Option<&str>,
    reference: Option<&str>,
    topic: &str,
    status: &str,
    response: &str,
) -> Utf8Bytes {
    let payload = format!(r#"{{"status":"{status}","response":{response}}}"#);
    encode(vsn, join_ref, reference, topic, "phx_reply", &payload)
}

/// An event for all subscribers of a topic, encoded once per protocol version and shared.
#[derive(Debug)]
pub(crate) struct Broadcast {
    v2: Utf8Bytes,
    v1: OnceLock<Utf8Bytes>,
    topic: Arc<str>,
    event: &'static str,
    payload: String,
}

impl Broadcast {
    pub(crate) fn new(topic: &Arc<str>, event: &'static str, payload: String) -> Self {
        let v2 = encode(Vsn::V2, None, None, topic, event, &payload);
        Self {
            v2,
            v1: OnceLock::new(),
            topic: Arc::clone(topic),
            event,
            payload,
        }
    }

    /// Returns the frame in the given version; cloning it copies nothing.
    pub(crate) fn frame(&self, vsn: Vsn) -> Utf8Bytes {
        match vsn {
            Vsn::V2 => self.v2.clone(),
            Vsn::V1 => self
                .v1
                .get_or_init(|| encode(Vsn::V1, None, None, &self.topic, self.event, &self.payload))
                .clone(),
        }
    }
}

#[derive(Deserialize)]
struct V1<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow, rename = "ref")]
    reference: Option<&'a RawValue>,
    #[serde(borrow)]
    join_ref: Option<&'a RawValue>,
}

struct V2<'a>(Push<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for V2<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_seq(V2Visitor).map(Self)
    }
}

struct V2Visitor;

impl<'de> Visitor<'de> for V2Visitor {
    type Value = Push<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[join_ref, ref, topic, event, payload]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Push<'de>, A::Error> {
        use serde::de::Error as _;
        let missing = || A::Error::custom("too few elements");
        let bad = |Malformed| A::Error::custom("a reference is a string, a number or null");
        let join_ref: Option<&RawValue> = seq.next_element()?.ok_or_else(missing)?;
        let r: Option<&RawValue> = seq.next_element()?.ok_or_else(missing)?;
        let topic: BorrowedStr<'de> = seq.next_element()?.ok_or_else(missing)?;
        let event: BorrowedStr<'de> = seq.next_element()?.ok_or_else(missing)?;
        let payload: &RawValue = seq.next_element()?.ok_or_else(missing)?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Push {
            join_ref: reference(join_ref).map_err(bad)?,
            reference: reference(r).map_err(bad)?,
            topic: topic.0,
            event: event.0,
            payload: Payload::Json(payload),
        })
    }
}

/// A string that borrows from the frame if it can (plain `Cow` never does inside a sequence).
#[derive(Deserialize)]
struct BorrowedStr<'a>(#[serde(borrow)] Cow<'a, str>);

/// References are echoed, so only short scalars are accepted.
fn reference(raw: Option<&RawValue>) -> Result<Ref, Malformed> {
    const BYTES_MAX: usize = 256;
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(text) if text.len() > BYTES_MAX || text.starts_with(['{', '[']) => Err(Malformed),
        Some(text) => Ok(Some(Arc::from(text))),
    }
}

/// Encodes `text` as a JSON string.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_frames_echo_their_references() {
        let push = decode_text(Vsn::V2, r#"["1",7,"room:x","e\u0076",{"a": 1},"extra"]"#).unwrap();
        assert_eq!(push.join_ref.as_deref(), Some("\"1\""));
        assert_eq!(push.reference.as_deref(), Some("7"));
        assert_eq!((&*push.topic, &*push.event), ("room:x", "ev"));
        let frame = encode_reply(
            Vsn::V2,
            push.join_ref.as_deref(),
            push.reference.as_deref(),
            &push.topic,
            "ok",
            "{}",
        );
        assert_eq!(
            frame.as_str(),
            r#"["1",7,"room:x","phx_reply",{"status":"ok","response":{}}]"#
        );
    }

    #[test]
    fn v1_frames() {
        let text = r#"{"topic":"t","event":"e","payload":{},"ref":"3"}"#;
        let push = decode_text(Vsn::V1, text).unwrap();
        assert_eq!(
            (push.join_ref, push.reference.as_deref()),
            (None, Some("\"3\""))
        );
        let broadcast = Broadcast::new(&"t".into(), "e", "{}".into());
        assert_eq!(
            broadcast.frame(Vsn::V2).as_str(),
            r#"[null,null,"t","e",{}]"#
        );
        assert_eq!(
            broadcast.frame(Vsn::V1).as_str(),
            r#"{"join_ref":null,"ref":null,"topic":"t","event":"e","payload":{}}"#
        );
    }

    #[test]
    fn malformed_text() {
        for text in [
            "",
            "null",
            "{}",
            "[]",
            r#"["1","2","t","e"]"#,
            r#"["1","2","t",5,{}]"#,
            r#"["1","2",null,"e",{}]"#,
            r#"[{"a":1},"2","t","e",{}]"#,
            r#"["1","2","t","e",{}"#,
            r#"["1","2","t","e",{}] x"#,
            r#"{"topic":"t","event":"e","payload":{}}"#,
        ] {
            assert!(decode_text(Vsn::V2, text).is_err(), "{text}");
        }
        assert!(decode_text(Vsn::V1, r#"{"topic":"t","event":"e","ref":"1"}"#).is_err());
        assert!(decode_text(Vsn::V1, r#"["1","2","t","e",{}]"#).is_err());
        let deep = format!(
            r#"[null,"1","t","e",{}{}]"#,
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        let _ = decode_text(Vsn::V2, &deep);
    }

    #[test]
    fn binary_pushes() {
        let push = decode_binary(b"\x00\x01\x01\x01\x0115teDATA").unwrap();
        assert_eq!(push.join_ref.as_deref(), Some("\"1\""));
        assert_eq!((&*push.topic, &*push.event), ("t", "e"));
        for bytes in [
            &b""[..],
            b"\x00\x01",
            b"\x01\x00\x00\x00\x00",
            b"\x00\xff\x00\x00\x00abc",
        ] {
            assert_eq!(decode_binary(bytes).unwrap_err(), Malformed);
        }
        assert!(decode_binary(b"\x00\x00\x00\x01\x01\xfft").is_err());
    }

    #[test]
    fn strings_are_escaped() {
        let frame = encode(Vsn::V2, None, None, "a\"b\n", "\u{1}", "{}");
        let back: serde_json::Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(back[2], "a\"b\n");
    }
}
