//! Headers of the public topics: CloudEvents 1.0 in the binary mode of its Kafka binding
//! (cloudevents/spec `bindings/kafka-protocol-binding.md` §3.2).

use std::borrow::Cow;

use bytes::Bytes;

use crate::{RecordType, Timestamp};

/// The headers of a record of `cluster`; `id` names it among the records of its type and cluster.
pub fn headers(record: RecordType, cluster: &str, id: String, at: Timestamp) -> Vec<(Cow<'static, str>, Bytes)> {
    let header = |name: &'static str, value: Bytes| (Cow::Borrowed(name), value);
    vec![
        header("ce_specversion", Bytes::from_static(b"1.0")),
        header("ce_id", id.into()),
        header("ce_source", Bytes::copy_from_slice(cluster.as_bytes())),
        header("ce_type", Bytes::from_static(record.event_type().as_bytes())),
        header("ce_time", at.to_string().into()),
        header("content-type", Bytes::from_static(b"application/avro")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_type_source_and_time() {
        let headers = headers(RecordType::Heartbeat, "prod", "7".to_owned(), Timestamp::from_millis(1000));
        let text: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value))).collect();
        assert_eq!(
            text,
            [
                "ce_specversion=1.0",
                "ce_id=7",
                "ce_source=prod",
                "ce_type=dev.epicenter.heartbeat",
                "ce_time=1970-01-01T00:00:01Z",
                "content-type=application/avro",
            ]
        );
    }
}
