//! Whether a directory is on a file system that several hosts share.
//!
//! SQLite's WAL mode needs shared memory between all processes that use a file, which no
//! network file system gives.

use std::io;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

use nix::sys::stat::{major, minor};
use nix::sys::statfs::statfs;

/// Magic numbers of statfs(2), with the names for a warning.
const NETWORK: [(u32, &str); 14] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x564c, "ncp"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x0116_1970, "gfs2"),
    (0x7461_636f, "ocfs2"),
];
const FUSE: u32 = 0x6573_5546;

/// FUSE file systems with the files of this machine; any other may be remote.
const LOCAL_FUSE: [&str; 7] = [
    "fuseblk",
    "virtiofs",
    "fuse.fuse-overlayfs",
    "fuse.mergerfs",
    "fuse.bindfs",
    "fuse.gocryptfs",
    "fuse.unionfs",
];

/// The kind of network file system that `directory` is on, or `None` if it is a local one.
///
/// # Errors
/// That of statfs(2), for example because there is no such directory.
pub(super) fn network_file_system(directory: &Path) -> io::Result<Option<String>> {
    let kind = statfs(directory)?.filesystem_type();
    // The type of the field differs between systems; a magic number has 32 bits on all.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let magic = kind.0 as u32;
    if magic == FUSE {
        let device = std::fs::metadata(directory)?.st_dev();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        return Ok(remote_fuse(&mounts, major(device), minor(device)));
    }
    Ok(NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| (*name).to_owned()))
}

/// The type of the FUSE file system with that device number if it may be remote.
fn remote_fuse(mounts: &str, major: u64, minor: u64) -> Option<String> {
    let device = format!("{major}:{minor}");
    let kind = mounts
        .lines()
        .filter(|line| line.split(' ').nth(2) == Some(&device))
        .find_map(|line| line.split_once(" - ")?.1.split(' ').next())
        .unwrap_or("fuse");
    (!LOCAL_FUSE.contains(&kind)).then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proc_file_system_is_local_and_a_missing_directory_an_error() {
        assert_eq!(network_file_system(Path::new("/proc")).unwrap(), None);
        assert!(network_file_system(Path::new("/no/such/directory")).is_err());
    }

    #[test]
    fn fuse_is_told_apart_by_the_mount_table() {
        let mounts = "36 35 0:54 / /mnt/a rw,noatime shared:1 - fuse.sshfs host:/x rw\n\
                      37 35 0:55 / /mnt/b rw - fuse.fuse-overlayfs fuse-overlayfs rw\n";
        assert_eq!(remote_fuse(mounts, 0, 54), Some("fuse.sshfs".to_owned()));
        assert_eq!(remote_fuse(mounts, 0, 55), None);
        assert_eq!(remote_fuse(mounts, 0, 56), Some("fuse".to_owned()));
    }
}
