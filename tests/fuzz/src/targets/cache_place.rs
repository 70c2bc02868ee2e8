//! Where the cache is, for any `postscreen_cache_map`: never in a directory of somebody else's
//! that main.cf does not name, and never without a word where there is none.
//!
//! Input: who owns directories, the default type, a cache_file of gatepost.cf (or none), each up
//! to a line end; then the map.

use std::path::{Path, PathBuf};

use gatepost::cache::location::{Owner, Place, Request, locate};
use gatepost::postfix::message::Level;

use super::take::Take;

const DATA: &str = "/var/lib/postfix";

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let others = take.pick(&[Owner::Other, Owner::MailOwner, Owner::Unknown]);
    let mut line = || String::from_utf8_lossy(take.until(b'\n')).into_owned();
    let (default_type, file) = (line(), line());
    let cache_map = String::from_utf8_lossy(take.0);
    let request = Request {
        cache_map: &cache_map,
        default_type: &default_type,
        data_directory: Path::new(DATA),
        cache_file: Some(Path::new(&file)).filter(|_| !file.is_empty()),
    };
    let owner = |path: &Path| if path == Path::new(DATA) { Owner::MailOwner } else { others };
    let (place, messages) = locate(request, owner);
    let errors = messages.iter().filter(|message| message.level == Level::Error).count();
    match place {
        Place::None => assert_eq!(errors, usize::from(!cache_map.is_empty()), "{messages:?}"),
        Place::Memory => assert!(messages.is_empty() && cache_map.contains("n")),
        Place::File(location) => {
            assert_eq!(errors, 0);
            if let Some(named) = request.cache_file {
                assert_eq!(location.sqlite_path, named);
                return;
            }
            let parent = location.sqlite_path.parent().map(Path::to_owned).unwrap_or_default();
            let own = parent == Path::new(DATA) || others != Owner::Other;
            let bare = Path::new(&*cache_map).file_name().is_none();
            assert!(own || bare || parent_is_none(&location.sqlite_path), "{location:?}");
            assert!(location.sqlite_path.to_string_lossy().ends_with(".sqlite"));
            if let Some(old) = &location.old_cache {
                assert!(old.spec.starts_with(&old.map_type), "{old:?}");
                assert_ne!(old.db_file, location.sqlite_path);
            }
        }
    }
}

/// A name like `..`, of which there is no file.
fn parent_is_none(path: &Path) -> bool {
    let base: PathBuf = path.to_string_lossy().trim_end_matches(".sqlite").into();
    base.file_name().is_none()
}
