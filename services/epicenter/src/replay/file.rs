//! From a file's bytes to text: gzip, byte order marks, and bytes that are no UTF-8.

use std::io::Read;
use std::path::Path;

use super::ReplayError;

/// The text of a file, or of standard input when `file` is `-`.
pub fn read(file: &Path) -> Result<String, ReplayError> {
    let unreadable = |source| ReplayError::Unreadable { file: file.to_owned(), source };
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(unreadable)?;
        bytes
    } else {
        std::fs::read(file).map_err(unreadable)?
    };
    text(file, bytes)
}

/// The text in `bytes`, which came from `file`.
pub fn text(file: &Path, bytes: Vec<u8>) -> Result<String, ReplayError> {
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) { unzip(file, &bytes)? } else { bytes };
    // PowerShell's `>` writes UTF-16 with a byte order mark.
    let wide = |order: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].as_chunks::<2>().0.iter().map(|unit| order(*unit)).collect();
        String::from_utf16_lossy(&units)
    };
    Ok(match bytes.as_slice() {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        // What is no UTF-8 is somebody's message; it is shown as U+FFFD rather than refused with the whole file.
        _ => String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    })
}

fn unzip(file: &Path, bytes: &[u8]) -> Result<Vec<u8>, ReplayError> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).map_err(|source| {
        let file = file.to_owned();
        match source.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let place = format!("byte {}", bytes.len());
                ReplayError::CutOff { file, place, what: "the gzip stream has no end".to_owned() }
            }
            _ => ReplayError::Malformed {
                file,
                place: "its start".to_owned(),
                what: format!("a broken gzip stream ({source})"),
            },
        }
    })?;
    Ok(out)
}

/// An error of the JSON parser in the words of a user of files.
pub(super) fn malformed(file: &Path, text: &str, error: &serde_json::Error) -> ReplayError {
    let file = file.to_owned();
    let place = format!("line {} column {}", error.line(), error.column());
    if error.is_eof() {
        let what = format!("{} bytes, and the JSON in it has no end", text.len());
        return ReplayError::CutOff { file, place, what };
    }
    ReplayError::Malformed { file, place, what: format!("no JSON ({error})") }
}
