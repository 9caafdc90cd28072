//! Who may look: by the name in the address bar, by where a form comes from, by a token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use data_encoding::HEXLOWER;
use epicenter_runtime::{Access, same};
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;

use crate::page;

/// For so long a login holds.
const LOGIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Whoever guesses waits.
const GUESS: Duration = Duration::from_millis(500);
const COOKIE: &str = "epicenter_login";

/// Who may look.
pub(crate) struct Guard {
    /// Tokens, and what each of them is for. Without any, whoever is on this machine sees all.
    pub tokens: Vec<(String, Access)>,
    pub loopback: bool,
    /// Names beside those of loopback.
    pub hosts: Vec<String>,
}

/// What a page may do in a browser: nothing but show what comes from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds to each answer what browsers must heed.
pub(crate) async fn harden(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// Lets in who may look, to what they may see, and sends others to the login.
pub(crate) async fn admit(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let refused = |status: StatusCode, why: &str| page::refused(status, why).into_response();
    let headers = request.headers();
    if !guard.knows_host(headers) {
        return refused(
            StatusCode::MISDIRECTED_REQUEST,
            "This console does not go by that name. Open it as localhost, or add the name to console.hosts.",
        );
    }
    if request.method() != Method::GET && request.method() != Method::HEAD && !is_own(headers) {
        return refused(
            StatusCode::FORBIDDEN,
            "This form was sent by another site. Send it from the console's own page.",
        );
    }
    let path = request.uri().path();
    let open = path == "/login" || path.starts_with("/static/");
    if open {
        return next.run(request).await;
    }
    if let Some(access) = guard.access(headers) {
        request.extensions_mut().insert(access);
        return next.run(request).await;
    }
    if guard.tokens.is_empty() {
        return refused(StatusCode::FORBIDDEN, "Set console.token to look at this beyond loopback.");
    }
    if *request.method() != Method::GET || path == "/events" {
        let why = "Log in first, or send a token as Authorization: Bearer …";
        return refused(StatusCode::UNAUTHORIZED, why);
    }
    let to = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // A link from elsewhere, such as that in an alert, comes without the cookie. From here the same comes with it.
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        let to = inside(to);
        return ([(header::REFRESH, format!("0; url={to}"))], page::again(to)).into_response();
    }
    let to: String = url::form_urlencoded::byte_serialize(to.as_bytes()).collect();
    Redirect::to(&format!("/login?to={to}")).into_response()
}

impl Guard {
    /// What whoever sends these may see; `None` for those who may not look.
    fn access(&self, headers: &HeaderMap) -> Option<Access> {
        if self.tokens.is_empty() {
            return self.loopback.then(Access::whole);
        }
        let found = self.tokens.iter().find(|(token, _)| has_token(token, headers));
        found.map(|(_, access)| access.clone())
    }

    /// Against names that lead here without anybody's consent (DNS rebinding).
    fn knows_host(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
        let name = without_port(host);
        let listed =
            self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host) || known.eq_ignore_ascii_case(name));
        if !self.loopback {
            return listed || self.hosts.is_empty();
        }
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
        listed || name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') =>
        {
            name
        }
        _ => host,
    }
}

/// It was sent by a page of this console, or by no page at all.
fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    match (text("origin"), text("host")) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, origin)| origin == host),
        _ => false,
    }
}

fn has_token(token: &str, headers: &HeaderMap) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let login = cookie(headers, COOKIE);
    bearer.is_some_and(|given| same(given.as_bytes(), token.as_bytes()))
        || login.is_some_and(|it| holds(token, it, now()))
}

/// The value of a cookie.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut each = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    each.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// A login that holds until `until`, s since the epoch: who has it cannot tell the token, and another token ends it.
fn login(token: &str, until: u64) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).ok()?;
    mac.update(format!("console {until}").as_bytes());
    Some(format!("{until}.{}", HEXLOWER.encode(&mac.finalize().into_bytes())))
}

fn holds(token: &str, given: &str, now: u64) -> bool {
    let until = given.split_once('.').and_then(|(until, _)| until.parse::<u64>().ok());
    let made = until.filter(|until| *until > now).and_then(|until| login(token, until));
    made.is_some_and(|made| same(made.as_bytes(), given.as_bytes()))
}

fn now() -> u64 {
    u64::try_from(epicenter_runtime::now().as_millis() / 1000).unwrap_or_default()
}

/// Where a login leads to.
#[derive(Deserialize)]
pub(crate) struct To {
    #[serde(default)]
    to: String,
}

#[derive(Deserialize)]
pub(crate) struct Login {
    #[serde(default)]
    to: String,
    #[serde(default)]
    token: String,
}

pub(crate) async fn show_login(Query(To { to }): Query<To>) -> Response {
    page::login(&to, false).into_response()
}

pub(crate) async fn log_in(State(guard): State<Arc<Guard>>, headers: HeaderMap, Form(form): Form<Login>) -> Response {
    let Login { to, token: given } = form;
    if guard.tokens.is_empty() {
        return Redirect::to("/").into_response();
    }
    let is_given = |token: &str| same(given.trim().as_bytes(), token.as_bytes());
    let Some((token, _)) = guard.tokens.iter().find(|(token, _)| is_given(token)) else {
        tokio::time::sleep(GUESS).await;
        return (StatusCode::UNAUTHORIZED, page::login(&to, true)).into_response();
    };
    let until = now() + LOGIN.as_secs();
    let Some(value) = login(token, until) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    // Behind a proxy that ends TLS the cookie never goes in the open.
    let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}", LOGIN.as_secs());
    ([(header::SET_COOKIE, cookie)], Redirect::to(inside(&to))).into_response()
}

pub(crate) async fn log_out() -> Response {
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// A path of this console; nothing that leads elsewhere.
fn inside(to: &str) -> &str {
    let path = to.starts_with('/') && !to.starts_with("//") && !to.contains(['\\', '\r', '\n']);
    if path && to.bytes().all(|byte| byte.is_ascii_graphic()) { to } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn goes_by_its_own_names_only() {
        let check = |loopback: bool, hosts: &[&str], host: &'static str, expected: bool| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            let guard = Guard { tokens: Vec::new(), loopback, hosts };
            assert_eq!(guard.knows_host(&headers(&[("host", host)])), expected, "{host} {:?}", guard.hosts);
        };
        for own in ["localhost", "localhost:8080", "127.0.0.1:80", "[::1]:9000", "127.8.0.1"] {
            check(true, &[], own, true);
        }
        for other in ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "", "127.0.0.1.nip.io"]
        {
            check(true, &[], other, false);
        }
        check(true, &["console.example.com"], "Console.example.com:443", true);
        check(false, &[], "anything", true);
        check(false, &["console.example.com"], "evil.example", false);
        check(false, &["console.example.com"], "console.example.com", true);
        assert!(!Guard { tokens: Vec::new(), loopback: true, hosts: Vec::new() }.knows_host(&HeaderMap::new()));
    }

    #[test]
    fn takes_forms_of_its_own_pages_only() {
        for (pairs, expected) in [
            (&[("host", "localhost:1")][..], true),
            (&[("host", "localhost:1"), ("origin", "http://localhost:1")], true),
            (&[("host", "localhost:1"), ("origin", "http://localhost:2")], false),
            (&[("host", "localhost:1"), ("origin", "null")], false),
            (&[("host", "localhost:1"), ("origin", "http://localhost:1"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "localhost:1"), ("origin", "https://evil.example"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "localhost:1"), ("sec-fetch-site", "same-origin")], true),
        ] {
            assert_eq!(is_own(&headers(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_login_holds_for_its_token_and_its_time() {
        let made = login("secret", 1_000).unwrap();
        assert!(holds("secret", &made, 999));
        assert!(!holds("secret", &made, 1_000), "it is over");
        assert!(!holds("other", &made, 999));
        assert!(!holds("secret", &made.replace("1000.", "2000."), 999), "its end cannot be moved");
        for given in ["", ".", "9999999999.", "x.y"] {
            assert!(!holds("secret", given, 0), "{given}");
        }
    }

    #[test]
    fn a_login_leads_nowhere_else() {
        for (to, expected) in [
            ("/incidents/epc-a?x=1", "/incidents/epc-a?x=1"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/a\r\nset-cookie: x=1", "/"),
            ("", "/"),
        ] {
            assert_eq!(inside(to), expected);
        }
    }
}
