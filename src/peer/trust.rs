//! Whether visitors would go on trusting what is served here, as far as this node's own CA store can say.
//!
//! Where it trusts what is installed for a name, only what it trusts may follow, in this lineage or in another: neither a
//! thief's own CA nor a forgotten `--staging` takes the site from its visitors. Where it does not trust what is installed (a
//! CA of the house, a first certificate, no store) nothing can be said, and nothing is asked.
//!
//! What cannot be looked at is taken for a step back, never for nothing.

use std::cell::OnceCell;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::ssl::SslFiletype;
use openssl::stack::Stack;
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509PurposeId, X509Ref, X509StoreContext};
use openssl_probe::ProbeResult;

use crate::model::bundle::{Bundle, FILE_AT_MOST, Number, Part};
use crate::model::claims::Claims;
use crate::model::names::LineageName;
use crate::peer::archive::Archive;
use crate::peer::halt::Halt;
use crate::peer::joined::Joined;
use crate::peer::node::Node;
use crate::peer::policy::Grant;
use crate::peer::settled;
use crate::sys::bounded;
use crate::wire::message::Offer;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
/// Several times what distributions have.
const STORE_AT_MOST: u64 = 16 << 20;
const MAYBE: &str = "(of a test CA? or are this node's ca-certificates too old?)";

/// Ends here what would take trust from this node's visitors, unless this may be.
pub fn check(node: &Node, offer: &Offer, grant: &Grant, bundle: &Bundle) -> Result<(), Halt> {
    match loss(node, offer, grant, bundle) {
        Ok(None) => Ok(()),
        Ok(Some(what)) | Err(what) => grant.allows_step_back(offer, &what),
    }
}

/// What would be lost, in words; or what kept this node from finding out.
fn loss(node: &Node, offer: &Offer, grant: &Grant, bundle: &Bundle) -> Result<Option<String>, String> {
    // What a person let through once stays.
    if node.is_own() && settled::is(node.state(), &offer.lineage, bundle.digest()) {
        return Ok(None);
    }
    let Some(store) = Store::of_system() else {
        tracing::warn!("this node has no CA store (ca-certificates): what its visitors trust is not looked at");
        return Ok(None);
    };
    if store.trusts(&bundle.files().fullchain)? {
        return Ok(None);
    }
    let (old, loss) = if node.is_own() {
        let told = told_last(node, offer).map_err(|error| unreadable(&error))?;
        told.map_or((None, String::new()), |(number, chain)| {
            let loss = format!(
                "this node's CA store trusts version {number}, the last that its services were told of, and not this one \
                 {MAYBE}; certbot's links name it already, so renew without --staging before a service restarts"
            );
            (Some(chain), loss)
        })
    } else {
        let chain = chain_of(node, &offer.lineage).map_err(|error| unreadable(&error))?;
        (chain, format!("this node's CA store trusts the installed certificate and not this one {MAYBE}"))
    };
    if let Some(old) = &old
        && store.trusts(old)?
    {
        return Ok(Some(loss));
    }
    let claims = Claims::read(&bundle.files().fullchain);
    let claims = match old.and_then(|old| Claims::read(&old)) {
        Some(had) => claims.map(|claims| claims.beyond(&had)),
        None => claims,
    };
    taken_from_another(node, offer, grant, &store, claims.as_ref())
}

/// Which name of a trusted lineage another one would take, in words.
fn taken_from_another(
    node: &Node,
    offer: &Offer,
    grant: &Grant,
    store: &Store,
    claims: Option<&Claims>,
) -> Result<Option<String>, String> {
    for other in others(node, &offer.lineage).map_err(|error| unreadable(&error))? {
        // A key for some lineages only need not hear what else there is.
        let is_heard = grant.allows_lineage(&other).is_ok();
        let chain = chain_of(node, &other).map_err(|error| {
            tracing::warn!(lineage = %other, "cannot compare: {error}");
            if is_heard { unreadable(&error) } else { unreadable(&"cannot read the certificate of another lineage") }
        })?;
        let Some(chain) = chain else { continue };
        let met = match (claims, Claims::read(&chain)) {
            (Some(claims), Some(its)) => claims.meeting(&its).map(str::to_owned),
            _ => Some("a name that cannot be read".into()),
        };
        let Some(name) = met else { continue };
        if store.trusts(&chain)? {
            let whose = if is_heard { format!("the lineage {other}") } else { "another lineage".into() };
            return Ok(Some(format!(
                "this node's CA store trusts the certificate of {whose}, which is for {name} too, and not this one {MAYBE}"
            )));
        }
    }
    Ok(None)
}

fn unreadable(error: &dyn std::fmt::Display) -> String {
    format!("{error}; mend it there, so that this certificate can be compared with it")
}

/// What is installed of a lineage, whoever made it: a tree made by hand may have its chain in two files, and what is torn
/// says nothing of what stands beside it. Only where there is no such file nothing is.
fn chain_of(node: &Node, lineage: &LineageName) -> io::Result<Option<String>> {
    let directory = node.letsencrypt().path().join("live").join(lineage.as_str());
    let read = |part: Part| match bounded::read_bounded(&directory.join(part.link()), FILE_AT_MOST) {
        Ok(pem) => Ok(Some(String::from_utf8_lossy(&pem).into_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    };
    let whole = read(Part::Fullchain)?;
    if whole.as_deref().is_some_and(|pem| is_whole(pem) && pem.matches(BEGIN).count() > 1) {
        return Ok(whole);
    }
    let chain = read(Part::Chain)?;
    let leaf = if whole.as_deref().is_some_and(is_whole) { whole } else { read(Part::Cert)?.or(whole) };
    // Pasted by hand, its last line may have no end; and a fullchain.pem may be the leaf alone.
    let pasted = leaf.map(|leaf| leaf + "\n" + &chain.filter(|chain| is_whole(chain)).unwrap_or_default());
    if pasted.is_some() {
        return Ok(pasted);
    }
    let mut joined = node.joined_paths(lineage).into_iter().map(|path| Joined::open(&path)?.certificates());
    joined.find_map(Result::transpose).transpose()
}

/// Whether no certificate of a text is torn. Somebody may keep the key in the same file.
fn is_whole(pem: &str) -> bool {
    let begun = pem.matches(BEGIN).count();
    begun > 0 && X509::stack_from_pem(pem.as_bytes()).is_ok_and(|certificates| certificates.len() == begun)
}

/// The other lineages that are installed here.
fn others(node: &Node, than: &LineageName) -> io::Result<Vec<LineageName>> {
    let Some(live) = node.letsencrypt().open_if_there("live")? else { return Ok(Vec::new()) };
    let entries = live.entries()?;
    let names = entries.iter().filter_map(|entry| entry.to_str()?.parse().ok());
    Ok(names.filter(|name| name != than).collect())
}

/// The version that the own node's services were brought to last, and its chain: certbot's links name the new one already
/// and say nothing. Where nothing is noted (a first run), or what is noted is gone, it was the version before.
fn told_last(node: &Node, offer: &Offer) -> io::Result<Option<(Number, String)>> {
    let settled = settled::last(node.state(), &offer.lineage)?;
    let Some(archive) = Archive::open(node.letsencrypt(), &offer.lineage)? else { return Ok(None) };
    let mut before = None;
    let mut below = offer.number;
    while let Some(number) = archive.previous(below)? {
        below = number;
        let Some(files) = archive.read(number)? else { continue };
        let is_it = settled == Some(files.digest());
        let found = (number, files.fullchain);
        if is_it {
            return Ok(Some(found));
        }
        before.get_or_insert(found);
        if settled.is_none() {
            break;
        }
    }
    Ok(before)
}

/// What the distribution's CA package keeps up to date, wherever this distribution has it.
struct Store {
    path: PathBuf,
    /// Where the same anchors may stand a file each, found by their subjects' hashes: only what is needed is read.
    by_subject: Vec<PathBuf>,
    whole: OnceCell<X509Store>,
}

impl Store {
    /// None where there is none.
    fn of_system() -> Option<Store> {
        let ProbeResult { cert_file, cert_dir } = openssl_probe::probe();
        Some(Store { path: cert_file?, by_subject: cert_dir, whole: OnceCell::new() })
    }

    /// What is torn serves nobody, so nobody trusts it.
    fn trusts(&self, fullchain: &str) -> Result<bool, String> {
        let Ok(certificates) = X509::stack_from_pem(fullchain.as_bytes()) else { return Ok(false) };
        let Some((leaf, others)) = certificates.split_first() else { return Ok(false) };
        let anchor = |anchors: &X509Store| -> Result<Option<X509>, ErrorStack> {
            let mut chain = Stack::new()?;
            others.iter().try_for_each(|certificate| chain.push(certificate.clone()))?;
            X509StoreContext::new()?.init(anchors, leaf, &chain, |context| {
                let is_trusted = context.verify_cert()?;
                Ok(context.chain().and_then(|chain| chain.iter().last()).filter(|_| is_trusted).map(X509Ref::to_owned))
            })
        };
        // A shortcut to yes only: such a directory may be missing, or have what somebody put there and the store has not.
        let quick = self.found_by_subject().and_then(|anchors| anchor(&anchors));
        if quick.is_ok_and(|anchor| anchor.is_some_and(|anchor| self.has(&anchor))) {
            return Ok(true);
        }
        let found = self.whole().and_then(anchor).map_err(|error| unusable(&self.path, &error))?;
        Ok(found.is_some())
    }

    /// Whether the store's file has this very certificate; searched as text, which is quicker than parsing it.
    fn has(&self, anchor: &X509) -> bool {
        let pem = anchor.to_pem().ok().and_then(|pem| String::from_utf8(pem).ok());
        let text = bounded::read_bounded(&self.path, STORE_AT_MOST);
        pem.zip(text.ok()).is_some_and(|(pem, text)| String::from_utf8_lossy(&text).contains(pem.trim_end()))
    }

    fn found_by_subject(&self) -> Result<X509Store, ErrorStack> {
        let mut anchors = anchors()?;
        let lookup = anchors.add_lookup(X509Lookup::hash_dir())?;
        let mut directories = self.by_subject.iter().filter_map(|directory| directory.to_str());
        directories.try_for_each(|directory| lookup.add_dir(directory, SslFiletype::PEM))?;
        Ok(anchors.build())
    }

    /// Parsed once, and only where the shortcut does not say yes.
    fn whole(&self) -> Result<&X509Store, ErrorStack> {
        if let Some(whole) = self.whole.get() {
            return Ok(whole);
        }
        let mut anchors = anchors()?;
        anchors.add_lookup(X509Lookup::file())?.load_cert_file(&self.path, SslFiletype::PEM)?;
        Ok(self.whole.get_or_init(|| anchors.build()))
    }
}

fn anchors() -> Result<X509StoreBuilder, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    // Dates are not the question: what has just expired was trusted, and dates of a new one are checked elsewhere.
    store.set_flags(X509VerifyFlags::NO_CHECK_TIME)?;
    store.set_purpose(X509PurposeId::SSL_SERVER)?;
    Ok(store)
}

fn unusable(store: &Path, error: &ErrorStack) -> String {
    let why = error.errors().iter().find_map(openssl::error::Error::reason).unwrap_or("openssl does not say why");
    let store = store.display();
    format!(
        "the CA store {store} cannot be read: {why}; make it anew with 'update-ca-certificates' or 'update-ca-trust'"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::bundle::PemFiles;
    use crate::model::bundle::tests::an_anchor;
    use crate::model::config::Config;

    #[test]
    fn an_anchor_is_looked_up_by_its_subject_and_counts_only_where_the_store_has_it() {
        let home = tempfile::tempdir().unwrap();
        let (known, dropped) = (an_anchor("known.example"), an_anchor("dropped.example"));
        for pem in [&known, &dropped] {
            let hash = X509::from_pem(pem.as_bytes()).unwrap().subject_name_hash();
            fs::write(home.path().join(format!("{hash:08x}.0")), pem).unwrap();
        }
        let path = home.path().join("bundle.crt");
        fs::write(&path, format!("{}\n# another\n{known}", an_anchor("other.example"))).unwrap();
        let store = || Store { path: path.clone(), by_subject: vec![home.path().to_owned()], whole: OnceCell::new() };
        let quick = store();
        assert_eq!(quick.trusts(&known), Ok(true));
        assert!(quick.whole.get().is_none(), "all of the store was read for one");
        assert_eq!(store().trusts(&dropped), Ok(false));
        let without = Store { by_subject: Vec::new(), ..store() };
        assert_eq!((without.trusts(&known), without.trusts(&dropped)), (Ok(true), Ok(false)));
    }

    #[test]
    fn a_chain_in_two_files_is_read_as_one_and_a_whole_one_is_taken_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let text = format!("[node]\nname = \"web2\"\nletsencrypt = {0:?}\nstate = {0:?}\n", home.path());
        let node = Node::open(Config::parse(&text, Path::new("test.toml")).unwrap(), false).unwrap();
        let lineage: LineageName = "a.example".parse().unwrap();
        let live = home.path().join("live/a.example");
        fs::create_dir_all(&live).unwrap();
        let PemFiles { cert, privkey, chain, fullchain } = crate::model::bundle::tests::some_files();
        let chain_of = || chain_of(&node, &lineage).unwrap().unwrap();
        let certificates = |pem: &str| X509::stack_from_pem(pem.as_bytes()).map_or(0, |found| found.len());
        // Without an end of its last line.
        fs::write(live.join("cert.pem"), cert.trim_end()).unwrap();
        fs::write(live.join("chain.pem"), &chain).unwrap();
        assert_eq!(certificates(&chain_of()), certificates(&fullchain));
        fs::write(live.join("fullchain.pem"), &fullchain[..fullchain.len() - 40]).unwrap();
        assert_eq!(certificates(&chain_of()), certificates(&fullchain), "of a torn one the two files are left");
        let with_key = format!("{fullchain}{}", *privkey);
        fs::write(live.join("fullchain.pem"), &with_key).unwrap();
        fs::remove_file(live.join("chain.pem")).unwrap();
        assert_eq!(certificates(&chain_of()), certificates(&fullchain));
        fs::write(live.join("fullchain.pem"), &cert).unwrap();
        fs::write(live.join("chain.pem"), &chain).unwrap();
        assert_eq!(
            certificates(&chain_of()),
            certificates(&fullchain),
            "where the leaf is alone the chain is beside it"
        );
        fs::write(live.join("fullchain.pem"), "of no certificate\n").unwrap();
        assert_eq!(certificates(&chain_of()), certificates(&fullchain));
    }
}
