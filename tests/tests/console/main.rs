//! The console in a real browser, over the real services.
#![allow(clippy::unwrap_used, clippy::panic)]

mod looks;
mod scene;
