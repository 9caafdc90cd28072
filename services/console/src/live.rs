//! `GET /events`: says that something changed, by server-sent events. A browser asks for the page again, and shows what is new of it.
//!
//! Nothing waits for a browser: who is slow hears once, of all that changed meanwhile.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::board::Held;
use crate::visit::Visit;
use crate::{Board, page};

/// Browsers that listen at once, at most.
pub(crate) const BROWSERS: usize = 1_000;
/// Between two words to a browser, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// After that time a page is made again whatever happened: it says how long ago something was.
const TICK: Duration = Duration::from_secs(30);
/// Then a stream ends, and the browser opens another one: none is kept for who has gone without a word.
const LIFE: Duration = Duration::from_secs(600);
const ALIVE: Duration = Duration::from_secs(15);

/// What a page shows.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Of {
    /// Of one incident; empty for anything.
    #[serde(default)]
    incident: String,
}

pub(crate) async fn listen(visit: Visit, Query(of): Query<Of>) -> Response {
    let is_hidden = |held: &Held| held.find(&of.incident).is_some_and(|it| !visit.access.sees_incident(&it.head));
    if visit.console.board.look(is_hidden) {
        return page::refused(StatusCode::NOT_FOUND, "There is no such incident.").into_response();
    }
    let Ok(place) = Arc::clone(&visit.browsers).try_acquire_owned() else {
        let why = "Too many browsers listen at once. This page shows what was when it was loaded.";
        let refused = page::refused(StatusCode::SERVICE_UNAVAILABLE, why);
        return ([(header::RETRY_AFTER, "30")], refused).into_response();
    };
    let words = words(visit.console.board.clone(), of.incident, visit.stop.clone(), place);
    // A proxy that gathers answers would keep it all.
    ([("x-accel-buffering", "no")], Sse::new(words).keep_alive(KeepAlive::new().interval(ALIVE))).into_response()
}

/// The words for one browser. Made as they are asked for: nothing is kept for it but the version that it heard of.
fn words(
    board: Board,
    incident: String,
    stop: CancellationToken,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let changes = board.watch();
    let heard = board.look(Held::version);
    let end = Instant::now() + LIFE;
    let state = (board, changes, heard, false, place);
    stream::unfold(state, move |(board, mut changes, mut heard, greeted, place)| {
        let (incident, stop) = (incident.clone(), stop.clone());
        async move {
            if !greeted {
                let hello = Event::default().event("hello").data(heard.to_string()).retry(PAUSE);
                return Some((Ok(hello), (board, changes, heard, true, place)));
            }
            sleep(PAUSE).await;
            let next = async {
                let tick = Instant::now() + TICK;
                loop {
                    let version = *changes.borrow_and_update();
                    let concerns = |held: &Held| incident.is_empty() || held.changed_since(heard, &incident);
                    if version > heard && board.look(concerns) {
                        heard = version;
                        return Some("change");
                    }
                    heard = version;
                    tokio::select! {
                        changed = changes.changed() => changed.ok()?,
                        () = sleep_until(tick) => return Some("tick"),
                    }
                }
            };
            let word = tokio::select! {
                word = next => word?,
                () = stop.cancelled() => return None,
                () = sleep_until(end) => return None,
            };
            Some((Ok(Event::default().event(word).data(heard.to_string())), (board, changes, heard, true, place)))
        }
    })
}

#[cfg(test)]
mod tests {
    use epicenter_model::{Codec, Incident};
    use futures::StreamExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    fn changed(board: &Board, id: &str, version: i64) {
        let incident = Incident { id: id.into(), cluster: "c".into(), version, ..Incident::default() };
        let document = Codec::single_object().encode(&incident).unwrap();
        board.incident_row(b"c/i", Some(&document)).unwrap();
    }

    fn open(board: &Board, incident: &str, stop: &CancellationToken) -> impl Stream<Item = String> + Unpin + use<> {
        let places = Arc::new(Semaphore::new(1));
        let place = places.try_acquire_owned().unwrap();
        let words = words(board.clone(), incident.to_owned(), stop.clone(), place);
        // An event tells its text to nobody but the wire.
        Box::pin(words.map(|word| format!("{:?}", word.unwrap())))
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_hears_once_of_all_that_changed() {
        let (board, stop) = (Board::new(Codec::single_object()), CancellationToken::new());
        let mut words = open(&board, "", &stop);
        assert!(words.next().await.unwrap().contains("hello"));
        for version in 1..=10_000 {
            changed(&board, "epc-a", version);
        }
        let word = words.next().await.unwrap();
        assert!(word.contains("change") && word.contains("10000"), "{word}");
        let before = Instant::now();
        let word = words.next().await.unwrap();
        assert!(word.contains("tick") && before.elapsed() >= TICK, "{word}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_of_one_incident_hears_of_that_one() {
        let (board, stop) = (Board::new(Codec::single_object()), CancellationToken::new());
        let mut words = open(&board, "epc-a", &stop);
        words.next().await.unwrap();
        changed(&board, "epc-b", 1);
        assert!(words.next().await.unwrap().contains("tick"));
        changed(&board, "epc-a", 2);
        assert!(words.next().await.unwrap().contains("change"));
    }

    #[tokio::test(start_paused = true)]
    async fn ends_with_the_process_and_after_its_life() {
        let (board, stop) = (Board::new(Codec::single_object()), CancellationToken::new());
        let before = Instant::now();
        let heard = open(&board, "", &stop).count().await;
        assert!(before.elapsed() <= LIFE + TICK && heard > 2);
        let mut words = open(&board, "", &stop);
        words.next().await.unwrap();
        stop.cancel();
        assert!(words.next().await.is_none());
    }
}
