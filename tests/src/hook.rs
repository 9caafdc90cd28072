//! A server on loopback that keeps what it is told, and can be away.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use parking_lot::Mutex;

use crate::ports;

/// How often it looks for somebody who calls.
const LOOK: Duration = Duration::from_millis(1);
/// Who says nothing for so long has hung up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its path.
    pub path: String,
    /// Its headers; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
    /// When all of it was there.
    pub at: Instant,
}

/// What a request is answered with: a status and a body of JSON.
type Answer = Arc<dyn Fn(&Told) -> (u16, String) + Send + Sync>;

/// Takes every request, while it is there.
pub struct Hook {
    port: u16,
    answer: Answer,
    told: Arc<Mutex<Vec<Told>>>,
    serving: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Hook {
    /// One that has a port and is away. It will answer with 200.
    pub fn new() -> Result<Self> {
        Self::answering(|_| (200, String::new()))
    }

    /// The same, with answers of its own.
    pub fn answering(answer: impl Fn(&Told) -> (u16, String) + Send + Sync + 'static) -> Result<Self> {
        let [port] = ports::free::<1>()?;
        Ok(Self { port, answer: Arc::new(answer), told: Arc::default(), serving: None })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Begins to listen.
    pub fn start(&mut self) -> Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).context("listening")?;
        listener.set_nonblocking(true)?;
        let (over, told) = (Arc::<AtomicBool>::default(), Arc::clone(&self.told));
        let (stop, answer) = (Arc::clone(&over), Arc::clone(&self.answer));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    // Who hangs up in the middle has told nothing.
                    Ok((stream, _)) => {
                        let one = serve(stream, &answer).ok();
                        told.lock().extend(one);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOOK),
                    Err(_) => {}
                }
            }
        });
        self.serving = Some((over, thread));
        Ok(())
    }

    /// Is away from now on.
    pub fn stop(&mut self) {
        if let Some((over, thread)) = self.serving.take() {
            over.store(true, Ordering::Relaxed);
            // A panic in there is told by itself.
            let _ = thread.join();
        }
    }

    /// All that it was told, in order.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().clone()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut stream: TcpStream, answer: &Answer) -> std::io::Result<Told> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let told = Told { path, headers, body, at: Instant::now() };
    let (status, body) = answer(&told);
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    Ok(told)
}
