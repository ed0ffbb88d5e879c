//! What the tests of deploy and resync do again and again, and what they look at afterwards.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::files::Entry;
use super::host::Host;
use super::process::{Command, Finished};
use super::{Bundle, Lab};

const TREE: &str = "/etc/letsencrypt";

impl Lab {
    /// The deploy hook as the poorest certbot runs it: nothing in the environment but what certbot says.
    pub fn deploying(&self, lineage: &str) -> Command {
        let hook = self.primary().command(["/usr/local/bin/certcast", "deploy"]).bare_env();
        hook.env("RENEWED_LINEAGE", format!("{TREE}/live/{lineage}"))
    }

    /// The deploy hook, to its end.
    pub fn deploy(&self, lineage: &str) -> Finished {
        self.deploying(lineage).run()
    }

    /// `certcast resync`, to its end.
    pub fn resync(&self, arguments: &[&str]) -> Finished {
        self.primary().command(["certcast", "resync"]).args(arguments).run()
    }

    /// So many servers that all serve version 1 of the lineage `name`, which is for that name.
    pub fn serving(hosts: usize, name: &str) -> (Lab, Bundle) {
        let lab = Lab::raise().hosts(hosts).up();
        let bundle = lab.issue(name, 1, &[name]);
        lab.deploy(name).ok().silent();
        for host in lab.hosts() {
            host.serve(name, &[name]);
            host.await_served(&lab, name, &bundle);
        }
        (lab, bundle)
    }
}

impl Host {
    /// Waits until new connections are shown this bundle: for what nginx does some time after a reload.
    pub fn await_served(&self, lab: &Lab, name: &str, bundle: &Bundle) {
        let leaf = Some(bundle.fingerprint());
        super::until("the leaf is served", || self.addresses().iter().all(|at| lab.served_leaf(*at, name) == leaf));
    }

    /// Fails the test unless this bundle is what is served for a name, now and on every address.
    #[track_caller]
    pub fn serves(&self, lab: &Lab, name: &str, bundle: &Bundle) {
        for address in self.addresses() {
            assert_eq!(lab.served_leaf(address, name), Some(bundle.fingerprint()), "{} at {address}", self.name());
        }
    }

    /// certbot's directory with all that is in it.
    pub fn certificates(&self) -> Vec<Entry> {
        self.tree(TREE)
    }

    /// Which files certbot's directory consists of, and when each was written: a rewritten one has changed.
    pub fn stamps(&self) -> Vec<(PathBuf, u64, i64, i64)> {
        let found = walkdir::WalkDir::new(self.path(TREE)).sort_by_file_name();
        let stamp = |entry: walkdir::DirEntry| {
            let metadata = entry.path().symlink_metadata().unwrap();
            (entry.path().to_owned(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
        };
        found.into_iter().map(|entry| stamp(entry.unwrap())).collect()
    }

    /// Makes nginx's reload succeed and do nothing: another program has a port of the new configuration. Mended by
    /// dropping what is returned and removing the configuration.
    pub fn make_reload_lie(&self) -> super::Running {
        let squatter = self.spawn(["python3", "-m", "http.server", "8081", "--bind", "0.0.0.0"]);
        self.await_listener(8081);
        self.write("/etc/nginx/conf.d/conflict.conf", "server { listen 8081; }\n");
        squatter
    }
}
