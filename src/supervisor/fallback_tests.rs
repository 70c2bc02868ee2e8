use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use super::*;

fn fallback(words: &[&str]) -> Fallback {
    let options = Options::parse(words);
    let words = words.iter().map(OsString::from).collect();
    Fallback::new(words, options.as_ref().ok(), Some(&Environment::default()))
}

#[test]
fn the_command_line_of_postscreen() {
    for (words, expected) in [
        ("gatepost -l -n smtp -t inet -u -c -s 2", "postscreen -l -n smtp -t inet -u -c -s 2"),
        ("../x/gatepost -l -n 25 -t inet", "postscreen -l -n 25 -t inet"),
        // Without -n, the service is called as the program.
        ("../x/gatepost -l -t inet", "postscreen -n gatepost -l -t inet"),
        // What it cannot read, it passes on.
        ("gatepost -l -Q", "postscreen -l -Q"),
        ("gatepost", "postscreen"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let made = fallback(&words).arguments();
        let made: Vec<&str> = made.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(made.join(" "), expected);
    }
    let bytes = OsString::from_vec(b"a=\xff".to_vec());
    let made = Fallback::new(vec!["gatepost".into(), bytes], None, None).arguments();
    assert_eq!(made, [c"postscreen".into(), CString::new(b"a=\xff").unwrap()]);
}

#[test]
fn what_master_opened() {
    let numbers = |words: &[&str]| fallback(words).descriptors().collect::<Vec<_>>();
    assert_eq!(numbers(&["gatepost", "-t", "inet"]), [3, 4, 5, 6]);
    assert_eq!(numbers(&["gatepost", "-t", "inet", "-s", "3"]), [3, 4, 5, 6, 7, 8]);
    assert_eq!(numbers(&["gatepost"]), [3, 4, 5]);
}

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let name = format!("gatepost-fallback-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn program(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, "#!/bin/sh\necho \"$@\"; echo $(ls /proc/self/fd)\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn programs_that_can_be_executed() {
    let scratch = Scratch::new("check");
    let verdict = |path: &Path| {
        let obstacle = check(path).err().map(|obstacle| obstacle.to_string());
        obstacle.map(|text| text.replace(&scratch.0.display().to_string(), "DIR"))
    };
    assert_eq!(verdict(&scratch.program("good", 0o755)), None);
    let plain = verdict(&scratch.program("plain", 0o644));
    assert_eq!(plain.as_deref(), Some("DIR/plain: Permission denied"));
    let missing = verdict(&scratch.0.join("missing"));
    assert_eq!(missing.as_deref(), Some("DIR/missing: No such file or directory"));
    fs::create_dir(scratch.0.join("directory")).unwrap();
    let directory = verdict(&scratch.0.join("directory"));
    assert_eq!(directory.as_deref(), Some("DIR/directory: Permission denied"));
    let ourselves = scratch.0.join("ourselves");
    symlink(std::env::current_exe().unwrap(), &ourselves).unwrap();
    assert_eq!(verdict(&ourselves).as_deref(), Some("DIR/ourselves is this program itself"));
}

#[test]
fn what_gatepost_cf_seems_to_say() {
    let scratch = Scratch::new("suspicion");
    let fallback = Fallback { gatepost_cf: scratch.0.join("gatepost.cf"), ..fallback(&["x"]) };
    assert!(fallback.suspicion().is_none(), "no file");
    for (text, expected) in [
        ("", None),
        ("workers = 2\nfallback = postscreen\n#fallback = none\n", None),
        ("fallback none", None),
        ("workers = 2\n fallback=none \n", Some("fallback = none")),
        ("  upstream_proxy_networks=1.2.3.4", Some("it does not know upstream_proxy_networks")),
        ("upstream_proxy_interface = 1.2.3.4", Some("it does not know upstream_proxy_networks")),
    ] {
        fs::write(&fallback.gatepost_cf, text).unwrap();
        let obstacle = fallback.suspicion().map(|obstacle| obstacle.to_string());
        assert_eq!(obstacle.is_some(), expected.is_some(), "{text:?}");
        if let (Some(obstacle), Some(expected)) = (obstacle, expected) {
            assert!(obstacle.starts_with(expected), "{text:?}: {obstacle}");
        }
    }
    fs::remove_file(&fallback.gatepost_cf).unwrap();
    fs::create_dir(&fallback.gatepost_cf).unwrap();
    assert!(matches!(fallback.suspicion(), Some(Obstacle::Proxies)), "it cannot be read");
    assert!(matches!(fallback.program(), Err(Obstacle::Proxies)));
}

#[test]
fn a_cache_that_somebody_has() {
    let scratch = Scratch::new("cache");
    let lock = |name: &str| {
        let file = File::open(scratch.program(name, 0o644)).unwrap();
        Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap()
    };
    let own = |map_type: &str| {
        let fallback = fallback(&["gatepost", "-n", "[::1]:25", "-t", "inet"]);
        fallback.learn_cache(Some(&OldCache {
            map_type: map_type.into(),
            db_file: scratch.0.join("cache.db"),
            spec: format!("{map_type}:{}/cache", scratch.0.display()),
        }));
        let map = fallback.cache_of_its_own();
        map.map(|map| map.replace(&scratch.0.display().to_string(), "DIR"))
    };
    assert_eq!(own("btree"), None, "no file");
    scratch.program("cache.db", 0o644);
    assert_eq!(own("btree"), None, "nobody has it");
    let _one = lock("cache.db");
    assert_eq!(own("lmdb"), None, "it can be shared");
    assert_eq!(own("btree").as_deref(), Some("btree:DIR/cache.%5B::1%5D:25-1"));
    assert_eq!(own("hash").as_deref(), Some("hash:DIR/cache.%5B::1%5D:25-1"));
    let _two = lock("cache.%5B::1%5D:25-1.db");
    assert_eq!(own("btree").as_deref(), Some("btree:DIR/cache.%5B::1%5D:25-2"));
    assert_eq!(fallback(&["gatepost"]).cache_of_its_own(), None);
}

const DIRECTORY: &str = "GATEPOST_TEST_FALLBACK";

/// A process that panics, as supervisor or as a child of one.
#[test]
#[ignore = "run in child processes by the tests below"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let directory = PathBuf::from(directory);
    let words = ["gatepost", "-l", "-n", "smtp", "-t", "inet"];
    let mut fallback = fallback(&words);
    let known = Known {
        daemon_directory: directory.clone(),
        substitute: Substitute::Postscreen,
        wary_of_proxies: false,
        other_settings: false,
        crashes: Crashes::of(&directory, "smtp"),
    };
    fallback.known.set(known).unwrap();
    match std::env::var("GATEPOST_TEST_ROLE").as_deref() {
        Ok("worker") => fallback.process = 1,
        Ok("serving") => fallback.is_serving(),
        _ => {}
    }
    maillog::install_panic_hook(move || fallback.panicked());
    panic!("on purpose");
}

fn panic_as(role: &str, directory: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "supervisor::fallback::tests::child"])
        .env(DIRECTORY, directory)
        .env("GATEPOST_TEST_ROLE", role)
        .env("POSTLOG_SERVICE", directory.join("log"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_panic_has_a_way_out() {
    let scratch = Scratch::new("panic");
    scratch.program(PROGRAM, 0o755);
    fs::create_dir(scratch.0.join("pid")).unwrap();
    const SERVED: &str = "-l -n smtp -t inet\n";
    assert!(panic_as("starting", &scratch.0).contains(SERVED));
    // The supervisor's children have its hook.
    assert!(!panic_as("worker", &scratch.0).contains(SERVED));
    // Once it serves, a panic is a crash: the third one is too many.
    for expected in [false, false, true, false] {
        assert_eq!(panic_as("serving", &scratch.0).contains(SERVED), expected);
    }
}
