//! Which partition a cluster lives in, and what an incident is called.

use sha2::{Digest, Sha256};

/// Kafka's murmur2, as the Java client and most other tools compute it
/// (apache/kafka `clients/src/main/java/org/apache/kafka/common/utils/Utils.java`).
pub fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (index, byte) in tail.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !tail.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition, of `partitions`, in which a whole cluster lives, in every topic.
pub fn partition_of(cluster: &str, partitions: u32) -> u32 {
    (murmur2(cluster.as_bytes()) & 0x7fff_ffff) % partitions.max(1)
}

/// The cluster that a record is about, by its key: all of it, or what comes before the first `/`, or zero byte in private
/// tables. `None` when the key names none. No cluster has such a name that it could not be told.
pub fn cluster_of(key: &[u8]) -> Option<&str> {
    let end = key.iter().position(|byte| matches!(byte, b'/' | 0)).unwrap_or(key.len());
    std::str::from_utf8(&key[..end]).ok().filter(|cluster| !cluster.is_empty())
}

/// An incident's stable name: `epc-` and the first 50 bits of SHA-256 over the cluster's uid, the opening Event's uid and
/// its occurrence number, in base32 (RFC 4648, lower case).
pub fn incident_id(cluster_uid: &str, event_uid: &str, occurrence: i64) -> String {
    let digest = Sha256::digest(format!("{cluster_uid}\0{event_uid}\0{occurrence}"));
    let mut text = data_encoding::BASE32_NOPAD.encode(&digest[..7]).to_lowercase();
    text.truncate(10);
    format!("epc-{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Java's `Utils.murmur2`, from apache/kafka `UtilsTest.testMurmur2`.
    #[test]
    fn agrees_with_java() {
        for (text, hash) in [
            ("21", -973932308_i32),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn keeps_a_cluster_in_one_partition() {
        assert_eq!(partition_of("prod-eu-1", 12), partition_of("prod-eu-1", 12));
        assert!((0..100).all(|n| partition_of(&format!("c{n}"), 3) < 3));
        assert_eq!(partition_of("any", 1), 0);
    }

    #[test]
    fn tells_whose_a_record_is() {
        for key in ["prod-eu-1", "prod-eu-1/shop/apps/Deployment/web", "prod-eu-1/epc-7f3k", "prod-eu-1\0e123"] {
            assert_eq!(cluster_of(key.as_bytes()), Some("prod-eu-1"), "{key:?}");
        }
        assert_eq!(cluster_of(b"\0mark"), None);
        assert_eq!(cluster_of(b""), None);
        assert_eq!(cluster_of(b"\xff/x"), None);
    }

    #[test]
    fn names_an_incident_by_its_first_occurrence() {
        let id = incident_id("cluster", "event", 1);
        assert_eq!(id.len(), 14);
        assert_ne!(id, incident_id("cluster", "event", 2));
        assert_eq!(id, incident_id("cluster", "event", 1));
    }
}
