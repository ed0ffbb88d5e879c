//! Whether certificates follow on each other, are the same, and are valid now.

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::x509::X509;

use super::BundleError;
use crate::model::certificate::unix;

/// How far the clocks of the CA and of a node may differ, in seconds.
const CLOCK_TOLERANCE: i64 = 3600;

pub(super) fn check_order(fullchain: &[X509]) -> Result<(), BundleError> {
    for (index, pair) in fullchain.windows(2).enumerate() {
        let [child, issuer] = pair else { continue };
        let named = child.issuer_name().to_der()? == issuer.subject_name().to_der()?;
        if !named || !child.verify(issuer.public_key()?.as_ref())? {
            return Err(BundleError::Order(index + 1));
        }
    }
    Ok(())
}

pub(super) fn same<'a>(left: &[X509], right: impl Iterator<Item = &'a X509>) -> Result<bool, ErrorStack> {
    let fingerprint = |certificate: &X509| certificate.digest(MessageDigest::sha256()).map(|d| d.to_vec());
    let left: Vec<_> = left.iter().map(fingerprint).collect::<Result<_, _>>()?;
    let right: Vec<_> = right.map(fingerprint).collect::<Result<_, _>>()?;
    Ok(left == right)
}

pub(super) fn check_dates(fullchain: &[X509], now: i64) -> Result<(i64, i64), BundleError> {
    let mut dates = Vec::new();
    for (index, certificate) in fullchain.iter().enumerate() {
        let (from, to) = (unix(certificate.not_before())?, unix(certificate.not_after())?);
        if to <= now {
            return Err(match index {
                0 => BundleError::Expired(timestamp(to)),
                _ => BundleError::ChainExpired(index + 1, timestamp(to)),
            });
        }
        dates.push((from, to));
    }
    let (from, to) = dates.first().copied().ok_or(BundleError::NoChain)?;
    if from > now + CLOCK_TOLERANCE {
        return Err(BundleError::NotYetValid(timestamp(from)));
    }
    Ok((from, to))
}

fn timestamp(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX)
}
