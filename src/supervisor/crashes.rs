//! Crashes, remembered from one process to the next, as each ends the process in which it
//! happens. Time counts from the boot of the machine: a clock that is set changes nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::wait::WaitStatus;
use nix::time::{ClockId, clock_gettime};

use crate::process::note;
use crate::sys::fault::FAULTS;

/// How many crashes within [`PERIOD`] are too many.
pub const TOO_MANY: usize = 3;

/// See [`TOO_MANY`].
pub const PERIOD: Duration = Duration::from_secs(60);

/// What the kernel calls the present boot of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Whether a process has ended by a fault of its own: a panic ends in SIGABRT. One that was
/// killed, has given up or was ended by its watchdog is none.
pub fn is_crash(status: WaitStatus) -> bool {
    matches!(status, WaitStatus::Signaled(_, signal, _) if FAULTS.contains(&signal))
}

/// The crashes of one service.
#[derive(Clone, Debug)]
pub struct Crashes {
    file: PathBuf,
}

impl Crashes {
    /// Of the service with this name in master.cf. The file is beside the locks of Postfix's
    /// daemons, where only root can write.
    pub fn of(queue_directory: &Path, service: &str) -> Crashes {
        let name = file_name_of(service);
        Crashes { file: queue_directory.join(format!("pid/gatepost.crashes.{name}")) }
    }

    /// Notes one more, and says whether that makes too many. Then all are forgotten, so that the
    /// next process starts with a clean slate.
    pub fn are_too_many_with_one_more(&self) -> bool {
        let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
        let boot = boot.trim();
        let Some(now) = since_boot() else { return false };
        let text = note::read(&self.file).unwrap_or_default();
        let recent = with_one_more(&text, boot, now);
        let too_many = recent.len() >= TOO_MANY;
        let result = if too_many {
            match std::fs::remove_file(&self.file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        } else {
            note::write(&self.file, &to_text(boot, &recent))
        };
        if let Err(error) = result {
            log::warn!("cannot write {}: {error}", self.file.display());
        }
        too_many
    }
}

/// The name of a service, as a part of the name of a file: one for each.
pub fn file_name_of(service: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    let parts = service.bytes().map(|byte| match byte {
        byte if plain(byte) => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    parts.collect()
}

fn since_boot() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Duration::from)
}

/// One line that names the boot, and a line with the milliseconds since then for each crash.
fn to_text(boot: &str, crashes: &[Duration]) -> String {
    let lines = crashes.iter().map(|crash| format!("{}\n", crash.as_millis()));
    std::iter::once(format!("{boot}\n")).chain(lines).collect()
}

/// The crashes of the last minute, and one that happens now. What makes no sense, is of another
/// boot or of the future (another container on the same machine) does not count.
fn with_one_more(text: &str, boot: &str, now: Duration) -> Vec<Duration> {
    let mut lines = text.lines();
    let same_boot = lines.next() == Some(boot);
    let stamps = lines.filter_map(|line| line.parse().ok().map(Duration::from_millis));
    let is_recent = |stamp: &Duration| now.checked_sub(*stamp).is_some_and(|age| age < PERIOD);
    let mut recent: Vec<Duration> = stamps.filter(|stamp| same_boot && is_recent(stamp)).collect();
    recent.push(now);
    // More than that are too many anyway.
    let surplus = recent.len().saturating_sub(TOO_MANY);
    recent.split_off(surplus)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;
    use nix::unistd::Pid;

    use super::*;

    fn count(text: &str, now: u64) -> usize {
        with_one_more(text, "boot", Duration::from_secs(now)).len()
    }

    #[test]
    fn crashes_of_the_last_minute_count() {
        let mut text = String::new();
        for (now, expected) in [(100, 1), (130, 2), (159, 3), (160, 3), (185, 3), (230, 2)] {
            let recent = with_one_more(&text, "boot", Duration::from_secs(now));
            assert_eq!(recent.len(), expected, "at {now}");
            text = to_text("boot", &recent);
        }
        assert_eq!(text, "boot\n185000\n230000\n");
    }

    #[test]
    fn what_makes_no_sense_does_not_count() {
        for (text, expected) in [
            ("boot\n99000\n98000\n", 3),
            ("boot\n99000\n98000", 3),
            ("", 1),
            ("boot", 1),
            ("other\n99000\n98000\n", 1),
            ("99000\n98000\n97000\n", 1),
            ("boot\n-1\n\n98000 \n99999999999999999999999\nx\n", 1),
            // Of the future, and from before the last minute.
            ("boot\n100001\n40000\n", 1),
            ("boot\n100000\n40001\n", 3),
            ("\0\0\0\n\0", 1),
        ] {
            assert_eq!(count(text, 100), expected, "{text:?}");
        }
        let many: String = (0..1000).map(|_| "99000\n").collect();
        assert_eq!(count(&format!("boot\n{many}"), 100), 3);
    }

    /// A directory that goes with the test.
    struct Queue(PathBuf);

    impl Queue {
        fn new(name: &str) -> Queue {
            let name = format!("gatepost-crashes-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(path.join("pid")).unwrap();
            Queue(path)
        }
    }

    impl Drop for Queue {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_third_is_one_too_many() {
        let queue = Queue::new("third");
        let one = Crashes::of(&queue.0, "smtp");
        let other = Crashes::of(&queue.0, "[::1]:25");
        for _ in 0..2 {
            for crashes in [&one, &other] {
                assert!(!crashes.are_too_many_with_one_more());
                assert!(!crashes.are_too_many_with_one_more());
                assert!(crashes.file.exists());
            }
            for crashes in [&one, &other] {
                assert!(crashes.are_too_many_with_one_more());
                assert!(!crashes.file.exists());
            }
        }
    }

    #[test]
    fn files_by_service() {
        let name = |service| {
            let file = Crashes::of(Path::new("/q"), service).file;
            file.to_str().unwrap().to_owned()
        };
        assert_eq!(name("smtp"), "/q/pid/gatepost.crashes.smtp");
        assert_eq!(name("127.0.0.1:25"), "/q/pid/gatepost.crashes.127.0.0.1:25");
        assert_eq!(name("../[a]%/é"), "/q/pid/gatepost.crashes...%2F%5Ba%5D%25%2F%C3%A9");
    }

    #[test]
    fn what_others_can_write_does_not_count() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let queue = Queue::new("others");
        let crashes = Crashes::of(&queue.0, "smtp");
        for _ in 0..2 {
            assert!(!crashes.are_too_many_with_one_more());
        }
        let text = std::fs::read_to_string(&crashes.file).unwrap();
        std::fs::set_permissions(&crashes.file, PermissionsExt::from_mode(0o666)).unwrap();
        assert!(!crashes.are_too_many_with_one_more(), "writable for everybody");
        let elsewhere = queue.0.join("elsewhere");
        std::fs::write(&elsewhere, &text).unwrap();
        std::fs::remove_file(&crashes.file).unwrap();
        symlink(&elsewhere, &crashes.file).unwrap();
        assert!(!crashes.are_too_many_with_one_more(), "a link");
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), text);
        // Where nothing can be written, nothing is remembered, and nothing worse happens.
        std::fs::remove_dir_all(queue.0.join("pid")).unwrap();
        for _ in 0..4 {
            assert!(!crashes.are_too_many_with_one_more());
        }
    }

    #[test]
    fn ends_that_are_crashes() {
        let pid = Pid::from_raw(7);
        for signal in Signal::iterator() {
            let expected =
                ["SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE"].contains(&signal.as_str());
            assert_eq!(is_crash(WaitStatus::Signaled(pid, signal, true)), expected, "{signal}");
        }
        for code in [0, 1, 101] {
            assert!(!is_crash(WaitStatus::Exited(pid, code)));
        }
    }
}
