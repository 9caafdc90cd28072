//! CloudEvents 1.0 over HTTP, signed as Standard Webhooks has it
//! (standard-webhooks/standard-webhooks `spec/standard-webhooks.md`).

use data_encoding::BASE64;
use epicenter_model::Timestamp;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::notice::Notice;
use crate::receiver::{Endpoint, Mode, Request, Webhook};

/// The request that tells `notice`.
pub(crate) fn request(to: &Webhook, receiver: &str, notice: &Notice, now: Timestamp) -> Result<Request, String> {
    let key = notice.key();
    let body = match to.mode {
        Mode::Structured => body(receiver, notice),
        Mode::Binary => data(receiver, notice).to_string(),
    };
    let endpoint = Endpoint { url: to.url.clone(), authorization: to.authorization.clone() };
    let mut request = endpoint.request("", body)?;
    match to.mode {
        Mode::Structured => request.headers[0].1 = "application/cloudevents+json".to_owned(),
        Mode::Binary => {
            let attributes = attributes(notice).map(|(name, value)| (header(name), percent(&value)));
            request.headers.extend(attributes);
        }
    }
    request.headers.push(("idempotency-key", percent(&key)));
    if to.secret.is_set() {
        let secret = to.secret.read().map_err(|error| error.to_string())?;
        let seconds = now.as_millis() / 1000;
        let id = percent(&key);
        let signature = signature(&secret, &[format!("{id}.{seconds}.").as_bytes(), &request.body].concat());
        let signed = [
            ("webhook-id", id),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", format!("v1,{signature}")),
        ];
        request.headers.extend(signed);
    }
    Ok(request)
}

/// The whole event as JSON.
pub(crate) fn body(receiver: &str, notice: &Notice) -> String {
    let mut event: serde_json::Map<String, Value> =
        attributes(notice).map(|(name, value)| (name.to_owned(), value.into())).into_iter().collect();
    event.insert("datacontenttype".to_owned(), "application/json".into());
    event.insert("data".to_owned(), data(receiver, notice));
    Value::Object(event).to_string()
}

fn attributes(notice: &Notice) -> [(&'static str, String); 6] {
    [
        ("specversion", "1.0".to_owned()),
        ("id", notice.key()),
        ("source", notice.incident.cluster.clone()),
        ("type", format!("dev.epicenter.incident.{}", notice.kind.name())),
        ("subject", notice.incident.id.clone()),
        ("time", notice.at.to_string()),
    ]
}

fn data(receiver: &str, notice: &Notice) -> Value {
    json!({
        "receiver": receiver,
        "notice": notice.kind.name(),
        "summary": notice.summary(),
        "description": notice.description(),
        "incident": notice.incident,
    })
}

/// The header of an attribute, in binary mode.
fn header(attribute: &str) -> &'static str {
    match attribute {
        "specversion" => "ce-specversion",
        "id" => "ce-id",
        "source" => "ce-source",
        "type" => "ce-type",
        "subject" => "ce-subject",
        _ => "ce-time",
    }
}

/// `text` as a header's value: other than visible ASCII is encoded (CloudEvents HTTP binding §3.1.3.2).
fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' | 0..=0x20 | 0x7f.. => out.push_str(&format!("%{byte:02X}")),
            byte => out.push(byte.into()),
        }
    }
    out
}

/// A secret that begins with `whsec_` is base64, any other is taken as it is.
fn signature(secret: &str, content: &[u8]) -> String {
    let decoded = secret.strip_prefix("whsec_").and_then(|rest| BASE64.decode(rest.as_bytes()).ok());
    let key = decoded.unwrap_or_else(|| secret.as_bytes().to_vec());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    mac.update(content);
    BASE64.encode(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_specification_shows() {
        // The example of the specification's test vectors.
        let content = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(signature(secret, content.as_bytes()), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn keeps_headers_in_one_line() {
        assert_eq!(percent("a/b\r\nx: é%"), "a/b%0D%0Ax:%20%C3%A9%25");
    }
}
