//! The program of an image, and whether it is small enough.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::cargo::{cargo, target};
use crate::test::succeed;

/// What an image may have, bytes: it is pulled by each node on which one of its pods starts.
const LARGEST: u64 = 40_000_000;
/// The certificates that lie beside the program, bytes.
const CERTIFICATES: u64 = 250_000;

/// What is to be built.
#[derive(clap::Args)]
pub struct Asked {
    image: Image,
    /// The folder that gets the program.
    #[arg(long)]
    into: Option<PathBuf>,
}

/// An image, as `deploy/Dockerfile` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Image {
    /// Every service but the archive.
    Epicenter,
    /// The exporter and nothing else.
    Exporter,
    /// Every service, and the archive: few of them run, and it may be larger.
    Archive,
}

impl Image {
    fn program(self) -> &'static str {
        match self {
            Self::Epicenter | Self::Archive => "epicenter",
            Self::Exporter => "epicenter-exporter",
        }
    }

    fn features(self) -> &'static str {
        match self {
            Self::Epicenter | Self::Exporter => "tls",
            Self::Archive => "tls,archive",
        }
    }

    fn check(self, program: u64) -> Result<()> {
        let size = program + CERTIFICATES;
        ensure!(
            self == Self::Archive || size <= LARGEST,
            "an image with {} has {size} bytes, and may have {LARGEST}: find what has grown with `cargo bloat --profile dist --crates`",
            self.program()
        );
        Ok(())
    }
}

/// Builds the program of an image in the profile `dist`, says how large it is, and puts it where it is asked for. Fails when the image
/// would be too large.
pub fn run(Asked { image, into }: &Asked) -> Result<()> {
    let name = image.program();
    let mut build = cargo()?;
    build.args(["build", "--profile", "dist", "--locked", "-p", "epicenter", "--features", image.features()]);
    succeed(build.args(["--bin", name]), &format!("cargo build of {name}"))?;
    let program = target()?.join("dist").join(name);
    let size = fs::metadata(&program).with_context(|| format!("looking at {}", program.display()))?.len();
    println!("{}: {:.1} MB", program.display(), size as f64 / 1e6);
    image.check(size)?;
    if let Some(into) = into {
        let copy = into.join(name);
        fs::create_dir_all(into)
            .and_then(|()| fs::copy(&program, &copy))
            .with_context(|| copy.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(image: Image, program: u64, fits: bool) {
        assert_eq!(image.check(program).is_ok(), fits, "{image:?} {program}");
    }

    #[test]
    fn only_the_archive_may_be_large() {
        for image in [Image::Epicenter, Image::Exporter] {
            check(image, LARGEST - CERTIFICATES, true);
            check(image, LARGEST - CERTIFICATES + 1, false);
        }
        check(Image::Archive, 5 * LARGEST, true);
    }
}
