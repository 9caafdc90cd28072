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
            p.faint { "The token of " code { "console.token" } "." }
        }
    };
    Page(StatusCode::OK, document("Log in", html! {}, body))
}
