//! The login.

use axum::http::StatusCode;
use maud::html;

use super::{Page, document};

/// Asks for the token; `wrong` when another one was given.
pub(crate) fn login(to: &str, wrong: bool) -> Page {
    let body = html! {
        form.login method="post" action="/login" {
            h1 { "Log in" }
            @if wrong { p.wrong role="alert" { "That is not the token." } }
            input type="hidden" name="to" value=(to);
            label { "Token" input type="password" name="token" required autofocus autocomplete="current-password"; }
            button.main { "Log in" }
            p.faint { "That of " code { "console.token" } ", or your team's of " code { "admin.tokens" } "." }
        }
    };
    Page(StatusCode::OK, document("Log in", html! {}, body))
}

/// Leads to `to`, from a page of the console's own.
pub(crate) fn again(to: &str) -> Page {
    let body = html! { section.notice { p { a href=(to) { "Go on" } } } };
    Page(StatusCode::OK, document("Epicenter", html! {}, body))
}
