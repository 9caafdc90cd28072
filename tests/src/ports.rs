//! Free ports on loopback.

use std::net::{TcpListener, TcpStream};

use anyhow::Result;

/// `N` different ports that were free a moment ago.
pub fn free<const N: usize>() -> std::io::Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    for _ in 0..N {
        held.push(TcpListener::bind(("127.0.0.1", 0))?);
    }
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Someone listens there.
pub fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Starts a server; again when another process took one of its ports meanwhile.
pub fn retry<T>(mut start: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..3 {
        match start() {
            Err(error) if format!("{error:#}").to_lowercase().contains("address already in use") => {}
            other => return other,
        }
    }
    start()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_port_that_was_taken_is_tried_again_and_other_errors_are_not() {
        let check = |message: &str, expected: (bool, usize)| {
            let mut starts = 0;
            let result = retry(|| {
                starts += 1;
                if starts < 3 { bail!("broker ended\n{message}") } else { Ok(()) }
            });
            assert_eq!((result.is_ok(), starts), expected);
        };
        check("java.net.BindException: Address already in use", (true, 3));
        check("listen tcp 127.0.0.1:2379: bind: address already in use", (true, 3));
        check("out of memory", (false, 1));
    }
}
