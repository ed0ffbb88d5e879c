//! A disk of a host's own that can lose its power: ext4 on a loop device, and a copy of what is on the platter.
//!
//! The copy is read from the file behind the loop device, never from the device, whose page cache shows what ext4 has not
//! written out yet. What ext4 has not sent to the device is lost in the copy, as dirty pages are in a power cut. What it
//! has sent is there: this disk has no cache that forgets, so a missing *flush* alone would not be found, a missing fsync is.
//! The file is on the host's own tmpfs, and `mount -o loop` frees the device with the last mount: both go with the lab.

use super::host::Host;

/// Where the disk is mounted; the directories that are on it are bound from there.
const MOUNT: &str = "/disk";
const IMAGE: &str = "/disk.img";
const ANOTHERS: &str = "/disk/another-program";

/// What a power cut leaves of a disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Image(Vec<u8>);

impl Host {
    /// Puts directories on a new disk, with what is in them.
    pub fn put_on_disk(&self, directories: &[&str]) {
        // ext4 commits every few seconds by itself; here it does so when it is told to, so that each run is the same.
        let mut script = String::from(
            "set -e\ntruncate -s 3M /disk.img\nmkfs.ext4 -q -b 1024 -J size=1 -O ^resize_inode -N 256 \
             -E lazy_itable_init=0,lazy_journal_init=0 /disk.img\n",
        );
        script += &mount(directories, "cp -a $d/. $on/");
        self.run(["sh", "-c", &script]).ok();
    }

    /// What would be left if the power went now.
    pub fn power_cut(&self) -> Image {
        Image(self.read(IMAGE))
    }

    /// Another program syncs a file of its own: ext4 then commits all names and sizes, but not others' content.
    pub fn sync_another_file(&self) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(self.path(ANOTHERS)).unwrap();
        file.write_all(b".").unwrap();
        file.sync_all().unwrap();
    }

    /// Everything that is on the disk now survives.
    pub fn sync_disk(&self) {
        self.run(["sync", "-f", MOUNT]).ok();
    }

    /// Starts with what a power cut left: ext4 replays its journal. What was in the directories before is gone.
    pub fn insert_disk(&self, image: &Image, directories: &[&str]) {
        self.remove_disk(directories);
        self.write(IMAGE, &image.0);
        self.run(["sh", "-c", &format!("set -e\n{}", mount(directories, ":"))]).ok();
    }

    /// Takes the disk away, if there is one, mounted or not.
    pub fn remove_disk(&self, directories: &[&str]) {
        if !self.exists(IMAGE) {
            return;
        }
        // A file of its own each time: the device may keep the old one for a moment.
        let script = format!("umount {} {MOUNT} && rm {IMAGE}", directories.join(" "));
        self.run(["sh", "-c", &script]).ok();
    }
}

/// The lines that mount the disk and bind directories from it; `each` runs before the directory `$d` is covered by `$on`.
fn mount(directories: &[&str], each: &str) -> String {
    format!(
        "for n in $(seq 0 63); do [ -e /dev/loop$n ] || mknod /dev/loop$n b 7 $n; done\n\
         [ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237\n\
         mkdir -p {MOUNT}\nmount -o loop,commit=300 {IMAGE} {MOUNT}\n\
         for d in {}; do on={MOUNT}/$(basename $d); mkdir -p $on $d; chmod --reference=$d $on; {each}; mount --bind $on $d; done\n",
        directories.join(" ")
    )
}
