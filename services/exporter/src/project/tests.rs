use super::*;

#[test]
fn every_kind_is_found_by_its_own_name() {
    for kind in Kind::ALL {
        assert_eq!(Kind::of(kind.api_version(), kind.name()), Some(*kind));
    }
    assert_eq!(Kind::of("batch/v1beta1", "CronJob"), Some(Kind::CronJob));
    assert_eq!(Kind::of("example.com/v1", "Pod"), None);
}
