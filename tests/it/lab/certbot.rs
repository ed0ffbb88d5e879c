//! Real certbots: Debian's and the newest of `PyPI`.

use std::path::PathBuf;
use std::time::Duration;

use super::ca;
use super::host::Host;
use super::namespaces::repository;
use super::process::Command;

/// Which certbot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certbot {
    /// The package's.
    Debian,
    /// The newest of `PyPI`, in the environment that `./tests/run` makes.
    Pypi,
}

impl Host {
    /// A certbot that never asks, with the lab's CA as its server; subcommand and options go to `args`.
    pub fn certbot(&self, which: Certbot) -> Command {
        let program = match which {
            Certbot::Debian => PathBuf::from("/usr/bin/certbot"),
            Certbot::Pypi => environment().join("bin/certbot"),
        };
        assert!(program.exists(), "{} is missing; ./tests/run installs it", program.display());
        self.command([program])
            .args(["--non-interactive", "--agree-tos", "--email", "someone@site.test", "--server", ca::DIRECTORY])
            .env("REQUESTS_CA_BUNDLE", ca::TRUST)
            .deadline(Duration::from_secs(180))
    }
}

/// Where `PyPI`'s certbot is.
pub fn environment() -> PathBuf {
    let elsewhere = std::env::var_os("CERTCAST_TEST_CERTBOT").map(PathBuf::from);
    elsewhere.unwrap_or_else(|| repository().join("target/certbot-venv"))
}
