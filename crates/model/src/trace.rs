//! The trace of a record through the topics: W3C Trace Context (w3.org/TR/trace-context-1 §3.2), as header `traceparent`.
//!
//! Ids follow from the record that a trace begins with. So a batch that is committed again, and a replay, have the same
//! traces, and headers do not differ between runs.

use std::borrow::Cow;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The header's name.
const HEADER: &str = "traceparent";
/// Version of the format.
const VERSION: &str = "00";
/// Flags: it is sampled.
const SAMPLED: u8 = 1;

/// Where a record stands in a trace that is sampled. Records of no such trace have no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// What wrote the record.
    pub span: [u8; 8],
}

impl TraceContext {
    /// The beginning of the trace of a record of `cluster` (its uid), which `id` names; `None` unless it is the one in
    /// `one_in` that is sampled.
    pub fn root(cluster: &str, id: &str, one_in: u32) -> Option<Self> {
        let digest = Sha256::digest([cluster, "\0", id].concat());
        let (trace, rest) = digest.split_first_chunk::<16>()?;
        let (span, _) = rest.split_first_chunk::<8>()?;
        // The last 56 bits decide, as `TraceIdRatioBased` samplers of other makes do it.
        let random = trace[9..].iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        let sampled = random < (1 << 56) / u64::from(one_in.max(1));
        sampled.then_some(Self { trace: *trace, span: *span })
    }

    /// What `processor` does with a record that stands here.
    pub fn child(&self, processor: &str) -> Self {
        let digest = Sha256::new().chain_update(self.trace).chain_update(self.span).chain_update(processor).finalize();
        let span = digest.first_chunk::<8>().copied().unwrap_or(self.span);
        Self { span, ..*self }
    }

    /// Where a record with these headers stands; `None` when it has no such header, or its trace is not sampled. A header
    /// that is malformed counts as none, as the specification asks.
    pub fn of(headers: &[(Cow<'static, str>, Bytes)]) -> Option<Self> {
        let (_, value) = headers.iter().find(|(name, _)| name == HEADER)?;
        let mut parts = std::str::from_utf8(value).ok()?.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // A later version may have more parts.
        if version == "ff" || version.len() != 2 || (version == VERSION && parts.next().is_some()) {
            return None;
        }
        let context = Self { trace: bytes(trace)?, span: bytes(span)? };
        let [flags] = bytes(flags)?;
        (flags & SAMPLED != 0 && context.trace != [0; 16] && context.span != [0; 8]).then_some(context)
    }

    /// The header of a record that stands here.
    pub fn header(&self) -> (Cow<'static, str>, Bytes) {
        let (trace, span) = (HEXLOWER.encode(&self.trace), HEXLOWER.encode(&self.span));
        (Cow::Borrowed(HEADER), format!("{VERSION}-{trace}-{span}-{SAMPLED:02x}").into())
    }
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[track_caller]
    fn check(header: &str, is_read: bool) {
        let headers =
            [(Cow::Borrowed("other"), Bytes::new()), (HEADER.into(), Bytes::copy_from_slice(header.as_bytes()))];
        assert_eq!(TraceContext::of(&headers).is_some(), is_read, "{header}");
    }

    #[test]
    fn reads_what_the_specification_allows() {
        check(EXAMPLE, true);
        // Flags beside the first are reserved; a later version may say more.
        check(&EXAMPLE.replace("-01", "-03"), true);
        check(&EXAMPLE.replace("00-0", "01-0").replace("-01", "-01-more"), true);
        check(&EXAMPLE.replace("-01", "-00"), false);
        check(&[EXAMPLE, "-more"].concat(), false);
        check(&EXAMPLE.replace("00-0", "ff-0"), false);
        check(&EXAMPLE.to_uppercase(), false);
        check(&EXAMPLE.replace("b7ad6b7169203331", "0000000000000000"), false);
        check(&EXAMPLE.replace("b7ad6b71", ""), false);
        check("", false);
        check("00", false);
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let root = TraceContext::root("uid", "1/event/42", 1).unwrap();
        let child = root.child("enricher");
        assert_eq!((child.trace, TraceContext::of(&[child.header()])), (root.trace, Some(child)));
        assert_ne!(child.span, root.span);
        assert_ne!(child.span, root.child("correlator").span);
        assert_eq!(
            root.header().1,
            "00-7a118db36eeed0498f32816a68bab858-444175b13b0b1dd6-01",
            "ids stay what they are from version to version"
        );
    }

    #[test]
    fn a_share_of_the_traces_is_sampled() {
        let sampled = |one_in| -> Vec<u32> {
            (0..10_000).filter(|id| TraceContext::root("uid", &id.to_string(), one_in).is_some()).collect()
        };
        assert_eq!(sampled(1).len(), 10_000);
        let tenth = sampled(10);
        assert!((900..1_100).contains(&tenth.len()), "{}", tenth.len());
        // A smaller share is part of a larger one.
        let fifth = sampled(5);
        assert!(tenth.iter().all(|id| fifth.contains(id)));
    }
}
