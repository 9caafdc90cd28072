use super::*;

const CLOUD: &str = r#"{"specversion": "1.0", "id": "17", "source": "/shop/checkout", "type": "com.example.shop.PaymentFailed",
    "subject": "Deployment/shop/checkout", "time": "2026-11-27T15:00:00Z", "traceparent": "00-1-2-3",
    "data": {"message": "the bank does not answer", "level": "error", "amount": 12}}"#;
const SMALL: &str = r#"{"id": "17", "source": "/shop/checkout", "reason": "PaymentFailed", "message": "the bank does not answer",
    "level": "error", "regarding": "Deployment/shop/checkout", "time": "2026-11-27T15:00:00Z"}"#;

#[test]
fn both_forms_say_the_same() {
    let cloud = read(MediaType::CloudEvent, CLOUD.as_bytes()).unwrap();
    assert_eq!(cloud, read(MediaType::Json, SMALL.as_bytes()).unwrap());
    let [event] = &cloud[..] else { panic!("{cloud:?}") };
    let regarding = ObjectRef { api_version: "apps/v1".into(), ..ObjectRef::named("Deployment", "shop", "checkout") };
    assert_eq!(event.regarding, regarding);
    let said = [&event.component, &event.reason, &event.event_type, &event.note, &event.namespace].map(String::as_str);
    assert_eq!(said, ["application//shop/checkout", "PaymentFailed", "Error", "the bank does not answer", "shop"]);
    assert_eq!(event.occurred_at(), Some("2026-11-27T15:00:00Z".parse().unwrap()));
}

#[test]
fn an_event_is_named_by_its_id_and_its_source() {
    let uid = |id: &str, source: &str| {
        let body = SMALL.replace("\"17\"", &format!("{id:?}")).replace("/shop/checkout\"", &format!("{source}\""));
        read(MediaType::Json, body.as_bytes()).map(|events| events[0].uid.clone())
    };
    assert_eq!(uid("17", "/shop/checkout"), uid("17", "/shop/checkout"));
    let others = [uid("18", "/shop/checkout"), uid("17", "/shop/web")];
    assert!(others.iter().all(|other| *other != uid("17", "/shop/checkout")));
}

#[test]
fn takes_batches() {
    let batch = format!("[{CLOUD}, {}]", CLOUD.replace("17", "18"));
    assert_eq!(read(MediaType::CloudEvents, batch.as_bytes()).unwrap().len(), 2);
    assert_eq!(read(MediaType::Json, format!("[{SMALL}]").as_bytes()).unwrap().len(), 1);
    assert_eq!(read(MediaType::CloudEvents, b"[]").unwrap(), []);
}

#[track_caller]
fn check_refused(media: MediaType, body: &str, expected: &str) {
    let error = read(media, body.as_bytes()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn says_what_is_wrong_and_where() {
    use MediaType::{CloudEvent, CloudEvents, Json};
    check_refused(Json, "{", "the body is not JSON: EOF");
    check_refused(Json, "7", "the body must be an event, or an array of events");
    check_refused(CloudEvent, "[]", "a batch has the content-type application/cloudevents-batch+json");
    check_refused(CloudEvents, "{}", "a batch of CloudEvents is a JSON array");
    check_refused(Json, r#"{"id": "1"}"#, "event 0: missing field `source`");
    check_refused(Json, &SMALL.replace("reason", "raeson"), "event 0: `raeson`: unknown field `raeson`");
    check_refused(
        Json,
        &format!("[{SMALL}, {}]", SMALL.replace("error", "bad")),
        "event 1: `level`: unknown variant `bad`",
    );
    check_refused(
        Json,
        &SMALL.replace("Deployment/shop/checkout", "checkout"),
        "`regarding`: \"checkout\" names no object",
    );
    check_refused(
        Json,
        &SMALL.replace("Deployment/shop", "Rollout/shop"),
        "the apiVersion of \"Rollout\" is not known",
    );
    check_refused(Json, &SMALL.replace("Deployment/shop/checkout", "Deployment/shop/a b"), "without blanks");
    check_refused(
        Json,
        &SMALL.replace("the bank does not answer", ""),
        "`message`: has 0 bytes and must have 1 to 8192",
    );
    check_refused(Json, &SMALL.replace("the bank", &"x".repeat(9000)), "must have 1 to 8192");
    check_refused(
        Json,
        &SMALL.replace("2026-11-27T15:00:00Z", "yesterday"),
        "`time`: `yesterday` is not an RFC 3339 time",
    );
    check_refused(CloudEvent, &CLOUD.replace("1.0", "0.3"), "`specversion`: must be \"1.0\" and is \"0.3\"");
    check_refused(CloudEvent, &CLOUD.replace("subject", "topic"), "`subject`: is missing: name the object");
    check_refused(CloudEvent, &CLOUD.replace("\"message\"", "\"text\""), "`data`: missing field `message`");
    let many = format!("[{}]", vec!["{}"; 1001].join(","));
    check_refused(Json, &many, "the body has 1001 events and 1000 are allowed");
}

#[test]
fn knows_the_forms_by_their_media_types() {
    let of = MediaType::of;
    assert_eq!(of("application/cloudevents+json; charset=utf-8"), Some(MediaType::CloudEvent));
    assert_eq!(of("Application/CloudEvents-Batch+JSON"), Some(MediaType::CloudEvents));
    assert_eq!((of("application/json"), of("text/plain"), of("")), (Some(MediaType::Json), None, None));
}
