//! The simplest of requests, to what listens on loopback.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};

/// The status and the body that `path` answers. By HTTP 1.0: the body is never in chunks.
pub fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
    answer(&mut stream, path)
}

/// The same for a body that is sent there. What is refused before all of it is read is answered, too.
pub fn post(port: u16, path: &str, content_type: &str, body: &[u8]) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    )?;
    // Whoever refuses a body need not take it.
    let _ = stream.write_all(body);
    answer(&mut stream, path)
}

fn answer(stream: &mut TcpStream, path: &str) -> Result<(u16, String)> {
    let mut answer = String::new();
    // A connection that is reset behind an answer has given it.
    match stream.read_to_string(&mut answer) {
        Err(error) if answer.is_empty() => return Err(error.into()),
        _ => {}
    }
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("{path} answers {answer}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| format!("{path} answers {head}"))?, body.to_owned()))
}
