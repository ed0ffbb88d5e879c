//! What a peer is like before the transaction, and what must go wrong in it anyway.

/// One kind of transaction.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Scenario {
    /// For people.
    pub name: &'static str,
    /// Nothing is installed before, and the service is not running.
    pub first: bool,
    /// The service has a joined file.
    pub joined: bool,
    /// The service's reload fails with the new version, and only with it.
    pub reload_fails: bool,
    /// The file system knows no flags of `renameat2`.
    pub no_exchange: bool,
    /// It is the primary's own node, where certbot has switched its links already.
    pub own: bool,
    /// `live/NAME` is a directory of files that somebody made; it is taken over.
    pub adopted: bool,
    /// A second service is ill before, for want of its joined file, and refuses to reload with the new version.
    pub second: bool,
    /// A second lineage goes with the first, in one transaction. Neither with joined files nor with an adoption.
    pub together: bool,
    /// The journal is gone after a crash: as if the program wrote none. Nothing to be proven so, but that the sweep sees it.
    pub no_journal: bool,
    /// The program does not look at how its calls end. Nothing to be proven so either.
    pub blind: bool,
}

/// From version 1 to 2.
pub const RENEWAL: Scenario = Scenario {
    name: "renewal",
    first: false,
    joined: false,
    reload_fails: false,
    no_exchange: false,
    own: false,
    adopted: false,
    second: false,
    together: false,
    no_journal: false,
    blind: false,
};
/// Nothing was there before.
pub const FIRST: Scenario = Scenario { name: "first issue", first: true, ..RENEWAL };
/// With chain and key in one file as well.
pub const JOINED: Scenario = Scenario { name: "renewal with a joined file", joined: true, ..RENEWAL };

/// Two lineages at once.
const TOGETHER: Scenario = Scenario { name: "two lineages together", together: true, ..RENEWAL };

/// All.
pub const SCENARIOS: [Scenario; 17] = [
    JOINED,
    Scenario { name: "renewal rolled back", reload_fails: true, ..RENEWAL },
    Scenario { name: "renewal with a joined file rolled back", joined: true, reload_fails: true, ..RENEWAL },
    Scenario { name: "renewal without exchange", no_exchange: true, ..RENEWAL },
    Scenario { name: "renewal without exchange rolled back", no_exchange: true, reload_fails: true, ..RENEWAL },
    Scenario { name: "first issue without flags of rename", no_exchange: true, ..FIRST },
    FIRST,
    Scenario { name: "adoption", adopted: true, ..RENEWAL },
    Scenario { name: "adoption rolled back", adopted: true, reload_fails: true, ..RENEWAL },
    Scenario { name: "renewal rolled back by a second service", second: true, reload_fails: true, ..RENEWAL },
    TOGETHER,
    Scenario { name: "two lineages together rolled back", reload_fails: true, ..TOGETHER },
    Scenario { name: "two lineages without exchange rolled back", no_exchange: true, reload_fails: true, ..TOGETHER },
    Scenario { name: "first issue of two lineages", first: true, ..TOGETHER },
    Scenario { name: "two lineages on the own node", own: true, ..TOGETHER },
    Scenario { name: "the own node", own: true, ..JOINED },
    Scenario { name: "the own node rolled back", own: true, reload_fails: true, ..JOINED },
];
