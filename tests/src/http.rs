//! The simplest of requests, to what listens on loopback.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};

/// The status and the body that `path` answers. By HTTP 1.0: the body is never in chunks.
pub fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("{path} answers {answer}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| format!("{path} answers {head}"))?, body.to_owned()))
}
