use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;

/// A directory that is removed with its content.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let unique = format!("gatepost-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// Makes a program. A child process writes it: a descriptor of ours that is open for
    /// writing would be inherited by what other tests start, and keep it from running.
    fn script(&self, text: &str) -> PathBuf {
        let path = self.0.join("postconf");
        let mut writer = Command::new("/bin/sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let script = format!("#!/bin/sh\n{text}\n");
        writer.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn text_form() {
    let text = "mail_version = 3.11.6\ndata_directory =  /d\nsmtpd_banner = x\njunk\n";
    let defaults = BuildDefaults::parse(text);
    assert_eq!(defaults.get("mail_version"), Some("3.11.6"));
    assert_eq!(defaults.get("data_directory"), Some("/d"));
    assert_eq!(defaults.get("smtpd_banner"), None);
    assert_eq!(BuildDefaults::from_text(&defaults.to_text()), Some(defaults));
    assert_eq!(BuildDefaults::from_text("data_directory = /d"), None);
    assert_eq!(BuildDefaults::from_text("mail_version ="), None);
    assert_eq!(BuildDefaults::compiled_in().get("mail_owner"), Some("postfix"));
}

#[test]
fn asking() {
    let scratch = Scratch::new("ask");
    let limit = Duration::from_secs(20);
    let ask = |text: &str| ask(&scratch.script(text), &scratch.0, limit);
    let answer = ask("echo warning >&2; echo 'mail_version = 9.8.7'").unwrap();
    assert_eq!(answer.get("mail_version"), Some("9.8.7"));
    let arguments = ask("echo \"mail_version = $1 $3 $#\"").unwrap();
    let expected = format!("-c -d {}", 3 + names().count());
    assert_eq!(arguments.get("mail_version"), Some(expected.as_str()));
    assert!(matches!(ask("exit 3"), Err(AskError::Failed(_))));
    assert!(matches!(ask("exit 0"), Err(AskError::Empty)));
}

#[test]
fn a_silent_postconf_is_killed() {
    let scratch = Scratch::new("timeout");
    let started = Instant::now();
    let script = scratch.script("exec sleep 60");
    let result = ask(&script, &scratch.0, Duration::from_millis(100));
    assert!(matches!(result, Err(AskError::Timeout(_))));
    assert!(started.elapsed() < Duration::from_secs(20));
    let missing = ask(&scratch.0.join("missing"), &scratch.0, Duration::from_secs(1));
    assert!(matches!(missing, Err(AskError::Io(_))));
}

#[test]
fn memory() {
    let scratch = Scratch::new("memory");
    let path = scratch.0.join("defaults");
    assert_eq!(recall(&path), None);
    let defaults = BuildDefaults::parse("mail_version = 3.9.1");
    remember(&defaults, None, &path).unwrap();
    assert_eq!(recall(&path), Some((defaults.clone(), None)));
    let witness = Witness::of(&path, &defaults);
    remember(&defaults, Some(&witness), &path).unwrap();
    assert_eq!(recall(&path), Some((defaults.clone(), Some(witness.clone()))));
    assert_ne!(Witness::of(&path, &defaults), witness, "the file is another one");

    let link = scratch.0.join("link");
    symlink(&path, &link).unwrap();
    assert_eq!(recall(&link), None);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(recall(&path), None);
    assert_eq!(recall(&scratch.0), None);
}

#[test]
fn obtaining() {
    let scratch = Scratch::new("obtain");
    let memory = scratch.0.join("defaults");
    let main_cf = format!("here = {}\ncommand_directory = $here", scratch.0.display());
    let sources = Sources::from_texts(&scratch.0, main_cf.as_bytes(), None, &[]).unwrap();
    let postconf = scratch.script("echo 'mail_version = 9.8.7'");
    assert_eq!(postconf::find(&sources), Some(postconf));
    let (defaults, messages) = obtain(&sources, &memory);
    assert_eq!((defaults.get("mail_version"), messages.len()), (Some("9.8.7"), 0));

    scratch.script("echo 'mail_version = 9.8.8'; echo x >> ${0%/*}/calls");
    for _ in 0..3 {
        let (defaults, messages) = obtain(&sources, &memory);
        assert_eq!((defaults.get("mail_version"), messages.len()), (Some("9.8.8"), 0));
    }
    let calls = || fs::read(scratch.0.join("calls")).unwrap().len();
    assert_eq!(calls(), 2, "asked once");
    // The library is said to be where there is none, and then there is one.
    let answer = format!("shlib_directory = {}", scratch.0.display());
    scratch.script(&format!("echo mail_version = 9.8.7; echo '{answer}'; echo >> ${{0%/*}}/calls"));
    obtain(&sources, &memory);
    obtain(&sources, &memory);
    assert_eq!(calls(), 3);
    fs::write(scratch.0.join(LIBRARY), "x").unwrap();
    obtain(&sources, &memory);
    obtain(&sources, &memory);
    assert_eq!(calls(), 4);

    scratch.script("exit 1");
    let (defaults, messages) = obtain(&sources, &memory);
    assert_eq!(defaults.get("mail_version"), Some("9.8.7"));
    assert!(messages[0].text.ends_with("using those of its last answer"));
    fs::remove_file(&memory).unwrap();
    let (defaults, messages) = obtain(&sources, &memory);
    assert_eq!(defaults, BuildDefaults::compiled_in());
    assert!(messages[0].text.ends_with("using compiled-in ones"));
}

/// Services that start at the same moment remember the same answer at the same moment.
#[test]
fn remembering_at_once() {
    let scratch = Scratch::new("at-once");
    let path = scratch.0.join("defaults");
    let defaults = BuildDefaults::compiled_in();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| remember(&defaults, None, &path).unwrap()));
        }
    });
    assert_eq!(recall(&path), Some((defaults, None)));
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "nothing is left behind");
}
