//! What certbot says to its hooks in the environment, checked.
//!
//! Variables of one hook leak into later ones (certbot sets them in its own environment), so the
//! subcommand says which hook this is, and only that hook's variables are read.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::challenge::{Challenge, ChallengeError, Token};
use crate::model::escape::{escaped, escaped_up_to};
use crate::model::names::{Identifier, LineageName, NameError};

/// A call of the auth hook.
#[derive(Debug)]
pub struct AuthCall {
    /// The challenge to publish.
    pub challenge: Challenge,
    /// How many calls follow in this run; none from a certbot that does not say.
    pub remaining: Option<u32>,
}

/// A call of the deploy hook.
#[derive(Debug)]
pub struct DeployCall {
    /// certbot's directory, the parent of `live`.
    pub letsencrypt: PathBuf,
    /// The lineage that was renewed.
    pub lineage: LineageName,
}

/// Why the environment is no hook call.
#[derive(Debug, Error)]
pub enum HookError {
    /// Not called by certbot.
    #[error("{variable} is not set: '{hook}' is called by certbot, as its --{option} '{hook}'")]
    Missing {
        /// The variable.
        variable: &'static str,
        /// Our command.
        hook: &'static str,
        /// certbot's option.
        option: &'static str,
    },
    /// Not text.
    #[error("{0} is not UTF-8")]
    NotText(&'static str),
    /// A name in it is none.
    #[error("{0} is unfit")]
    Name(&'static str, #[source] NameError),
    /// HTTP-01 cannot validate it.
    #[error(
        "{0} cannot be validated over HTTP (RFC 8555 section 8.3 leaves wildcards to DNS-01); \
         leave the wildcard out, and give certbot --preferred-challenges http"
    )]
    Dns01(String),
    /// Token or validation.
    #[error("certbot's challenge for {0} is unfit")]
    Challenge(String, #[source] ChallengeError),
    /// Not a number.
    #[error("CERTBOT_REMAINING_CHALLENGES is \"{0}\" and not a number")]
    Remaining(String),
    /// Not `…/live/NAME`.
    #[error("RENEWED_LINEAGE is \"{0}\" and not an absolute path that ends in live/NAME")]
    Lineage(String),
}

struct Env<'g, G: Fn(&str) -> Option<OsString>> {
    get: &'g G,
    hook: &'static str,
    option: &'static str,
}

impl<G: Fn(&str) -> Option<OsString>> Env<'_, G> {
    fn optional(&self, variable: &'static str) -> Result<Option<String>, HookError> {
        let value = (self.get)(variable).filter(|value| !value.is_empty());
        value.map(|value| value.into_string().map_err(|_| HookError::NotText(variable))).transpose()
    }

    fn required(&self, variable: &'static str) -> Result<String, HookError> {
        let missing = HookError::Missing { variable, hook: self.hook, option: self.option };
        self.optional(variable)?.ok_or(missing)
    }
}

/// Reads an auth call. certbot 5 says `CERTBOT_IDENTIFIER`, older ones `CERTBOT_DOMAIN` only.
pub fn auth_call(get: impl Fn(&str) -> Option<OsString>) -> Result<AuthCall, HookError> {
    let env = Env { get: &get, hook: "certcast auth", option: "manual-auth-hook" };
    let (variable, text) = match env.optional("CERTBOT_IDENTIFIER")? {
        Some(text) => ("CERTBOT_IDENTIFIER", text),
        None => ("CERTBOT_DOMAIN", env.required("CERTBOT_DOMAIN")?),
    };
    let name: Identifier = text.parse().map_err(|error| HookError::Name(variable, error))?;
    let validation = env.required("CERTBOT_VALIDATION")?;
    // For DNS-01 certbot names the base domain and gives no token.
    let token = match env.optional("CERTBOT_TOKEN")? {
        Some(token) if !name.is_wildcard() => token,
        _ => return Err(HookError::Dns01(name.to_string())),
    };
    let challenge = token.parse().and_then(|token| Challenge::new(name.clone(), token, &validation));
    let challenge = challenge.map_err(|error| HookError::Challenge(name.to_string(), error))?;
    let remaining = env.optional("CERTBOT_REMAINING_CHALLENGES")?;
    let remaining = remaining.map(|text| text.parse().map_err(|_| HookError::Remaining(escaped(&text)))).transpose()?;
    Ok(AuthCall { challenge, remaining })
}

/// Reads a cleanup call: the token of the challenge to withdraw.
pub fn cleanup_call(get: impl Fn(&str) -> Option<OsString>) -> Result<Token, HookError> {
    let env = Env { get: &get, hook: "certcast cleanup", option: "manual-cleanup-hook" };
    let name = env.optional("CERTBOT_IDENTIFIER")?.or(env.optional("CERTBOT_DOMAIN")?).unwrap_or_default();
    env.required("CERTBOT_TOKEN")?.parse().map_err(|error| HookError::Challenge(escaped(&name), error))
}

/// Reads a deploy call.
pub fn deploy_call(get: impl Fn(&str) -> Option<OsString>) -> Result<DeployCall, HookError> {
    let env = Env { get: &get, hook: "certcast deploy", option: "deploy-hook" };
    let text = env.required("RENEWED_LINEAGE")?;
    let unfit = || HookError::Lineage(escaped(&text));
    // It is shown wherever something is wrong with the lineage.
    if escaped_up_to(&text, usize::MAX) != text {
        return Err(unfit());
    }
    let path = Path::new(&text);
    let live = path.parent().filter(|live| path.is_absolute() && live.ends_with("live")).ok_or_else(unfit)?;
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unfit)?;
    let lineage = name.parse().map_err(|error| HookError::Name("RENEWED_LINEAGE", error))?;
    let letsencrypt = live.parent().ok_or_else(unfit)?.to_owned();
    Ok(DeployCall { letsencrypt, lineage })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyPCt95vq5Y4";
    const VALIDATION: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyPCt95vq5Y4.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

    fn env(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    #[test]
    fn auth_reads_names_of_both_generations_of_certbot() {
        let old = env(&[("CERTBOT_DOMAIN", "a.example"), ("CERTBOT_TOKEN", TOKEN), ("CERTBOT_VALIDATION", VALIDATION)]);
        let call = auth_call(old).unwrap();
        assert_eq!((call.challenge.name().to_string().as_str(), call.remaining), ("a.example", None));
        let new = env(&[
            ("CERTBOT_IDENTIFIER", "192.0.2.7"),
            ("CERTBOT_TOKEN", TOKEN),
            ("CERTBOT_VALIDATION", VALIDATION),
            ("CERTBOT_REMAINING_CHALLENGES", "3"),
        ]);
        let call = auth_call(new).unwrap();
        assert_eq!((call.challenge.name().to_string().as_str(), call.remaining), ("192.0.2.7", Some(3)));
    }

    #[test]
    fn each_unfit_environment_has_its_own_message() {
        let message = |pairs| auth_call(env(pairs)).unwrap_err().to_string();
        assert!(message(&[]).contains("--manual-auth-hook 'certcast auth'"));
        let dns01 = message(&[("CERTBOT_DOMAIN", "a.example"), ("CERTBOT_VALIDATION", "x")]);
        assert!(dns01.contains("--preferred-challenges http"), "{dns01}");
        assert!(message(&[("CERTBOT_DOMAIN", "a/b"), ("CERTBOT_VALIDATION", "x")]).contains("CERTBOT_DOMAIN"));
        let token = &[("CERTBOT_DOMAIN", "a.example"), ("CERTBOT_TOKEN", "../x"), ("CERTBOT_VALIDATION", "../x.y")];
        assert!(message(token).contains("a.example"));
        assert!(cleanup_call(env(&[])).unwrap_err().to_string().contains("--manual-cleanup-hook"));
    }

    #[test]
    fn deploy_takes_an_absolute_live_path_and_nothing_else() {
        let call =
            deploy_call(env(&[("RENEWED_LINEAGE", "/etc/le/live/my site"), ("CERTBOT_TOKEN", "stale")])).unwrap();
        assert_eq!((call.letsencrypt.as_path(), call.lineage.as_str()), (Path::new("/etc/le"), "my site"));
        for bad in [
            &[("RENEWED_LINEAGE", "live/a")],
            &[("RENEWED_LINEAGE", "/etc/le/archive/a")],
            &[("RENEWED_LINEAGE", "/etc/le/live/..")],
            &[("RENEWED_LINEAGE", "/")],
            &[("RENEWED_LINEAGE", "/etc/\u{1b}[2J/live/a")],
        ] {
            assert!(deploy_call(env(bad)).is_err(), "{bad:?}");
        }
    }
}
