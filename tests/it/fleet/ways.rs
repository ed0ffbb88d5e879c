//! The ways to bring a certificate to all servers, each measured on the same ones.

use super::{Fleet, NAME, TREE};

const RUNS: u32 = 7;
/// A test and a reload, over when no old worker is left, and a look.
const RELOAD: &str = "nginx -t 2>/dev/null && old=$(pgrep -P $(cat /run/nginx.pid)) && nginx -s reload && \
     for pid in $old; do while [ -e /proc/$pid ]; do sleep 0.01; done; done && \
     openssl s_client -connect 127.0.0.1:443 -servername www.site.test </dev/null >/dev/null 2>&1";

/// Seconds of each, in the order of the headings.
pub fn all(fleet: &Fleet) -> Vec<f64> {
    let floor = fleet.median(&fleet.floor("true"), "", RUNS);
    let reload = fleet.median(&fleet.floor(RELOAD), "", RUNS);
    let deploy_line = format!("RENEWED_LINEAGE={TREE}/live/{NAME} certcast deploy");
    let deploy = fleet.median(&deploy_line, "sh /root/next", RUNS);
    let primary = fleet.lab.primary();
    primary.set("deploy.canary", false);
    let at_once = fleet.median(&deploy_line, "sh /root/next", RUNS);
    primary.set("deploy.canary", true);
    let resync = fleet.median("certcast resync", "", RUNS);
    let mut seconds = vec![floor.median, reload.median - floor.median, deploy.median, at_once.median, resync.median];
    for names in [1, 10, 100] {
        seconds.push(auth(fleet, names));
    }
    seconds.push(fleet.median(&calls(fleet, 100, "certcast --version >/dev/null"), "", RUNS).median);
    seconds.push(recording(fleet));
    seconds.extend([script(fleet), ansible(fleet), scp(fleet)]);
    seconds
}

/// The lines of a certbot that asks for so many names and calls this for each.
fn calls(fleet: &Fleet, names: usize, hook: &str) -> String {
    let names: Vec<String> = (0..names).map(|name| format!("n{name}.site.test")).collect();
    fleet.lab.primary().hooks().auth_by(hook, &names.iter().map(String::as_str).collect::<Vec<_>>()).lines()
}

/// Has `/root/cleanup` take away what so many auth calls left.
fn clean_up_after(fleet: &Fleet, names: usize) {
    fleet.lab.primary().write("/root/cleanup", calls(fleet, names, "certcast cleanup"));
}

fn auth(fleet: &Fleet, names: usize) -> f64 {
    clean_up_after(fleet, names);
    fleet.median(&calls(fleet, names, "certcast auth"), "sh /root/cleanup", RUNS).median
}

/// The processor time of a call that only records its challenge, without the shell's around it.
fn recording(fleet: &Fleet) -> f64 {
    clean_up_after(fleet, 1);
    let call = |hook| fleet.lab.primary().hooks().auth_one(hook, "n0.site.test", 1).lines();
    let both = fleet.median(&call("certcast auth"), "sh /root/cleanup", 30).processor;
    both - fleet.median(&call(":"), "", 30).processor
}

/// Of what takes so long that chance evens out within a run.
fn few(fleet: &Fleet) -> u32 {
    if fleet.lab.peers().len() > 10 { 1 } else { 3 }
}

/// One line a peer, with its ssh name in it.
fn each(fleet: &Fleet, line: &str) -> String {
    (0..fleet.lab.peers().len()).map(|at| line.replace("PEER", &format!("p{at}"))).collect()
}

fn link(part: &str) -> String {
    format!("ln -sfn ../../archive/{NAME}/{part}$n.pem {TREE}/live/{NAME}/{part}.pem")
}

/// (a) of the usual scripts: one server after another, one thing after another.
fn script(fleet: &Fleet) -> f64 {
    let lines = each(
        fleet,
        &format!(
            "rsync -a {TREE}/archive/{NAME}/ PEER:{TREE}/archive/{NAME}/\n\
             ssh PEER rm -f {TREE}/live/{NAME}/fullchain.pem {TREE}/live/{NAME}/privkey.pem\n\
             ssh PEER {}\nssh PEER {}\nssh PEER nginx -t 2>/dev/null\nssh PEER nginx -s reload\n",
            link("fullchain"),
            link("privkey")
        ),
    );
    fleet.median(&format!("n=$(cat /root/number)\n{lines}"), "sh /root/next", few(fleet)).median
}

/// (b) the same by Ansible, on all servers at once.
fn ansible(fleet: &Fleet) -> f64 {
    let primary = fleet.lab.primary();
    primary.write("/root/inventory", each(fleet, "PEER ansible_python_interpreter=/usr/bin/python3\n"));
    let task = |part: &str| {
        format!(
            "file: {{src: '../../archive/{NAME}/{part}{{{{n}}}}.pem', dest: {TREE}/live/{NAME}/{part}.pem, state: link}}"
        )
    };
    primary.write(
        "/root/play.yml",
        format!(
            "- hosts: all\n  gather_facts: no\n  tasks:\n  - copy: {{src: '{TREE}/archive/{NAME}/{{{{item}}}}{{{{n}}}}.pem', dest: {TREE}/archive/{NAME}/, mode: preserve}}\n    \
             loop: [cert, chain, fullchain, privkey]\n  - {}\n  - {}\n  - command: nginx -t\n  - command: nginx -s reload\n",
            task("fullchain"),
            task("privkey")
        ),
    );
    let play = format!(
        "ANSIBLE_HOST_KEY_CHECKING=no /usr/bin/ansible-playbook -i /root/inventory -f {} -e n=$(cat /root/number) \
         /root/play.yml >/dev/null",
        fleet.lab.peers().len()
    );
    fleet.median(&play, "sh /root/next", few(fleet)).median
}

/// (c) scp and then one ssh, on all servers at once.
fn scp(fleet: &Fleet) -> f64 {
    let lines = each(
        fleet,
        &format!(
            "(scp -q -p {TREE}/archive/{NAME}/*$n.pem PEER:{TREE}/archive/{NAME}/ && \
             ssh PEER \"{} && {} && nginx -t 2>/dev/null && nginx -s reload\") & pids=\"$pids $!\"\n",
            link("fullchain"),
            link("privkey")
        ),
    );
    fleet
        .median(
            &format!("n=$(cat /root/number)\npids=\n{lines}for pid in $pids; do wait $pid; done"),
            "sh /root/next",
            RUNS,
        )
        .median
}
