//! Whether visitors would go on trusting what is served here, as far as this node's own CA store can say.
//!
//! Where it trusts the installed certificate, only one that it trusts may follow: neither a thief's own
//! CA nor a forgotten `--staging` takes the site from its visitors. Where it does not trust what is installed (a CA of the
//! house, a first certificate, no store) nothing can be said, and nothing is asked.

use openssl::error::ErrorStack;
use openssl::ssl::SslFiletype;
use openssl::stack::Stack;
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509PurposeId, X509StoreContext, X509StoreContextRef};

use crate::model::bundle::{Bundle, FILE_AT_MOST, Part};
use crate::model::names::LineageName;
use crate::peer::node::Node;
use crate::sys::bounded;

/// What a node says of it.
pub const LOST: &str = "this node's CA store trusts the installed certificate and not this one (of a test CA? or are this \
                        node's ca-certificates too old?)";

/// Whether the installed certificate of the lineage is trusted here and this one is not.
pub fn would_be_lost(node: &Node, lineage: &LineageName, bundle: &Bundle) -> bool {
    let Ok(store) = system_store() else { return false };
    if trusts(&store, &bundle.files().fullchain) {
        return false;
    }
    let path = node.letsencrypt().path().join("live").join(lineage.as_str()).join(Part::Fullchain.link());
    let installed = bounded::read_bounded(&path, FILE_AT_MOST).unwrap_or_default();
    trusts(&store, &String::from_utf8_lossy(&installed))
}

/// What the distribution's CA package keeps up to date, wherever this distribution has it.
fn system_store() -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    // Dates are not the question: what has just expired was trusted, and dates of a new one are checked elsewhere.
    store.set_flags(X509VerifyFlags::NO_CHECK_TIME)?;
    store.set_purpose(X509PurposeId::SSL_SERVER)?;
    if let Some(file) = openssl_probe::probe().cert_file {
        store.add_lookup(X509Lookup::file())?.load_cert_file(file, SslFiletype::PEM)?;
    }
    Ok(store.build())
}

fn trusts(store: &X509Store, fullchain: &str) -> bool {
    let verified = || -> Result<bool, ErrorStack> {
        let mut certificates = X509::stack_from_pem(fullchain.as_bytes())?.into_iter();
        let Some(leaf) = certificates.next() else { return Ok(false) };
        let mut chain = Stack::new()?;
        certificates.try_for_each(|certificate| chain.push(certificate))?;
        X509StoreContext::new()?.init(store, &leaf, &chain, X509StoreContextRef::verify_cert)
    };
    verified().unwrap_or(false)
}
