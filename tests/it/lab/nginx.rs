//! nginx on each host: port 80 for challenges, port 443 for the names a test asks for.

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::host::Host;
use super::process::Command;
use super::wait;

const MAIN: &str = "\
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log notice;
events { worker_connections 256; }
http {
    include mime.types;
    access_log /var/log/nginx/access.log;
    server_names_hash_bucket_size 128;
    server {
        listen 80 default_server;
        listen [::]:80 default_server;
        root /var/www/html;
        location / { try_files $uri =404; }
    }
    include conf.d/*.conf;
}
";
const BROKEN: &str = "/etc/nginx/conf.d/broken.conf";
const LOG: &str = "/var/log/nginx/error.log";

impl Host {
    /// Writes the configuration and starts nginx; the caller awaits port 80.
    pub(super) fn nginx(&self) -> Command {
        self.write("/etc/nginx/nginx.conf", MAIN);
        self.command(["nginx"])
    }

    /// Starts nginx with what is configured.
    pub fn start_nginx(&self) {
        self.run(["nginx"]).ok();
        self.await_listener(80);
    }

    /// Stops nginx and waits until it is gone.
    pub fn stop_nginx(&self) {
        self.signal(self.nginx_master(), Signal::SIGTERM);
        wait::until("nginx has ended", || self.processes("nginx: ").is_empty());
    }

    /// The master process.
    pub fn nginx_master(&self) -> Pid {
        self.pid_in("/run/nginx.pid")
    }

    /// Reloads nginx, and returns when only workers of the new configuration are left.
    pub fn reload_nginx(&self) {
        let before = self.nginx_reloads();
        let workers = self.processes("nginx: worker");
        self.run(["nginx", "-s", "reload"]).ok();
        wait::until("nginx reloads", || self.nginx_reloads() > before);
        wait::until("the old workers are gone", || {
            self.processes("nginx: worker").iter().all(|pid| !workers.contains(pid))
        });
    }

    /// How many reloads nginx has begun since it was first started.
    pub fn nginx_reloads(&self) -> usize {
        self.nginx_log().lines().filter(|line| line.ends_with(": reconfiguring")).count()
    }

    /// All nginx's error log says.
    pub fn nginx_log(&self) -> String {
        if self.exists(LOG) { self.text(LOG) } else { String::new() }
    }

    /// Configures a site on 443 with the lineage of its first name. Reload or start nginx to let it count.
    pub fn configure_site(&self, lineage: &str, names: &[&str]) {
        let live = format!("/etc/letsencrypt/live/{lineage}");
        let site = format!(
            "server {{\n    listen 443 ssl;\n    listen [::]:443 ssl;\n    server_name {};\n    root /var/www/html;\n    \
             ssl_certificate {live}/fullchain.pem;\n    ssl_certificate_key {live}/privkey.pem;\n}}\n",
            names.join(" ")
        );
        self.write(&format!("/etc/nginx/conf.d/{lineage}.conf"), site);
    }

    /// Configures a site and waits until it is served. The lineage must be installed.
    pub fn serve(&self, lineage: &str, names: &[&str]) {
        self.configure_site(lineage, names);
        self.reload_nginx();
        self.await_listener(443);
    }

    /// Makes `nginx -t` fail, whatever certificates there are.
    pub fn break_nginx(&self) {
        self.write(BROKEN, "no_such_directive on;\n");
    }

    /// Undoes [`Host::break_nginx`].
    pub fn mend_nginx(&self) {
        self.remove(BROKEN);
    }

    /// The process a file on this host names, as the test sees it.
    pub(super) fn pid_in(&self, file: &str) -> Pid {
        let inside = self.text(file).trim().to_owned();
        let is_it = |pid: &Pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            // NSpid: the numbers from the outermost namespace to the innermost.
            status.lines().any(|line| line.starts_with("NSpid:") && line.split_whitespace().last() == Some(&inside))
        };
        let found = self.processes("").into_iter().find(is_it);
        found.unwrap_or_else(|| panic!("{}: no process {inside} as {file} says", self.name()))
    }
}
