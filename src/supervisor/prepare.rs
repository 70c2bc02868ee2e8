//! From a command line to workers that are about to serve.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use nix::sys::signal::Signal;
use nix::sys::socket::AddressFamily;
use nix::unistd::{Group, chdir, setsid};
use syslog::Facility;

use super::changes::{Changes, Item};
use super::descriptors::Descriptors;
use super::fallback::Fallback;
use super::outside::Outside;
use super::sandbox;
use super::snapshots::Snapshots;
use super::start_error::StartError;
use super::status;
use super::tls::tlsproxy;
use super::upgrade::Upgrade;
use super::watch::{self, Subject, Watch};
use super::{CacheDuty, State, Supervisor, WorkerProcess};
use crate::cache::CacheOptions;
use crate::cache::location::{self, Place};
use crate::config::build_defaults;
use crate::config::limits::share;
use crate::config::settings::Settings;
use crate::config::{self, Loaded, Request, Sources};
use crate::control::Channel;
use crate::daemon::{
    self, CacheStart, Company, Content, NameServers, ResolvConf, Start, TableServerSettings,
    Watched, WorkerSettings,
};
use crate::dns::resolv_conf::server_list;
use crate::postfix::lists::Vintage;
use crate::postfix::maillog::{self, Config as LogConfig, Destination, Utf8Filter};
use crate::postfix::master::{Environment, Options, Transport};
use crate::postfix::message::{Level, Message};
use crate::postfix::mynetworks::{self, NetworkSettings};
use crate::postfix::proxy_lists::{NETWORKS, ProxyListSettings};
use crate::postfix::remote::{Customs, Generation};
use crate::postfix::screen_tables::{NoName, ScreenTableSettings, ScreenTables};
use crate::privileges::Owner;
use crate::privileges::sandbox::Role;
use crate::process;
use crate::screen::policy::{Policy, Protocols};
use crate::screen::verdict;
use crate::sys::{self, Fork, errno_text};

/// The name that the log and `$process_name` know, whatever the file is called: log tools
/// look for it.
const PROCESS_NAME: &str = "postscreen";

/// What applies when syslog(3) does not know main.cf's `syslog_facility`, which has been
/// checked before.
const DEFAULT_FACILITY: Facility = Facility::LOG_MAIL;

fn common(call: &'static str) -> impl FnOnce(nix::Error) -> StartError {
    move |errno| StartError::Common(call, errno)
}

fn system(call: &'static str) -> impl FnOnce(nix::Error) -> StartError {
    move |errno| StartError::System(call, errno)
}

/// Does all that needs root and no network, in the order of a Postfix daemon, and forks. The
/// descriptors are taken if that succeeds.
pub fn prepare(
    options: &Options,
    environment: &Environment,
    descriptors: &mut Descriptors,
    fallback: &Arc<Fallback>,
) -> Result<Supervisor, StartError> {
    process::ignore_signals().map_err(system("signal"))?;
    let (loaded, sources, version) = load(options, environment)?;
    let Loaded { mut settings, mut policy, messages } = loaded;
    fallback.learn(&settings, &options.service);
    open_log(&settings, options, environment);
    log_all(&messages, StartError::Configuration)?;
    if options.transport != Transport::Inet {
        return Err(StartError::ServiceType(options.service.clone()));
    }
    policy.protocols = of_kernel(settings.access.inet_protocols)?;
    settings.access.inet_protocols = policy.protocols;
    let tlsproxy = tlsproxy(&sources, options, &settings, &policy);
    let table_servers = table_servers(&settings);
    let owner = find_owner(&settings)?;
    let queue = &settings.directories.queue;
    chdir(queue.as_path()).map_err(|errno| {
        StartError::Configuration(format!("chdir({}): {}", queue.display(), errno_text(errno)))
    })?;

    let snapshots = Snapshots::new(&settings);
    let tables = open_tables(&settings, &Outside::new(&sources, &snapshots))?;
    name_lists(&mut policy, &tables)?;
    let jail = options.chroot.then(|| settings.directories.queue.clone());
    let name_servers =
        (!policy.dnsbl.lists.is_empty()).then(|| name_servers(&settings, jail.as_deref()));
    if policy.upstream_proxy.is_some() {
        warn_of_open_door(&tables, &descriptors.listeners, settings.access.inet_protocols.ipv4);
    }
    let watched = watched(&tables, name_servers.as_ref());
    let upgrade = Upgrade::new(sources, version);
    let changes = changes(&tables, &watched, snapshots, upgrade);
    let place = locate_cache(&settings, &owner)?;
    if let Place::File(location) = &place {
        fallback.learn_cache(location.old_cache.as_ref());
    }
    check_descriptor_limit(&policy, settings.own.workers);
    // Else a `postfix stop`, which signals master's process group, would cut off clients that
    // still wait. It fails for a process that leads a group already, which is as good.
    let _ = setsid();
    if !options.alone {
        log::warn!(
            "service {}: the process limit in master.cf is not 1; one process serves all clients \
             all the same (postscreen would refuse to start)",
            options.service
        );
    }

    let signals =
        process::catch(&[Signal::SIGTERM, Signal::SIGCHLD]).map_err(system("signalfd"))?;
    let role = Role { owner: &owner, unprivileged: options.unprivileged, jail: jail.as_deref() };
    let sandbox = sandbox::choose(&settings, role, &tables, name_servers.as_ref());
    let mut supervisor = Supervisor {
        descriptors: Descriptors::default(),
        fallback: Arc::clone(fallback),
        started: Instant::now(),
        generation: environment.generation,
        told_master: None,
        signals,
        workers: Vec::new(),
        changes,
        owner: owner.clone(),
        cache: match &place {
            Place::None | Place::Memory => None,
            Place::File(location) => Some(CacheDuty {
                path: location.sqlite_path.clone(),
                old: location.old_cache.clone(),
                command_directory: settings.directories.command.clone(),
                config_directory: settings.directories.config.clone(),
                in_use: None,
                looked: Instant::now(),
            }),
        },
        importer: None,
        ends_at: None,
        log_waits: None,
    };
    for number in 0..settings.own.workers {
        let status = status_socket(&owner, number)?;
        let (ours, theirs) =
            Channel::pair().map_err(|error| StartError::Io("socketpair", error))?;
        match sys::fork().map_err(system("fork"))? {
            Fork::Parent(pid) => {
                ours.set_nonblocking().map_err(|error| StartError::Io("fcntl", error))?;
                supervisor.workers.push(WorkerProcess {
                    pid,
                    channel: ours,
                    state: State::Starting,
                    was_ready: false,
                });
            }
            Fork::Child => {
                // The supervisor's end of every channel has to be its alone: workers see their
                // supervisor's end by it.
                drop(supervisor);
                drop(ours);
                let Descriptors { listeners, .. } = std::mem::take(descriptors);
                // One worker cleans up for all.
                let cache = cache_start(place, &settings, &policy, number == 0);
                daemon::run(Start {
                    policy: Policy {
                        limits: share(policy.limits, number, settings.own.workers),
                        ..policy
                    },
                    tables,
                    listeners,
                    supervisor: theirs,
                    status,
                    owner,
                    unprivileged: options.unprivileged,
                    jail,
                    sandbox,
                    name_servers,
                    table_servers: table_servers.clone(),
                    cache,
                    watchdog_timeout: settings.watchdog_timeout,
                    settings: WorkerSettings {
                        pass_service: Path::new("private").join(&settings.services.smtpd),
                        tlsproxy,
                        company: match settings.own.workers {
                            ..=1 => Company::Alone,
                            _ => Company::Siblings,
                        },
                        max_idle: settings.max_idle,
                        ipv4: settings.access.inet_protocols.ipv4,
                        watched,
                    },
                });
            }
        }
    }
    supervisor.descriptors = std::mem::take(descriptors);
    Ok(supervisor)
}

/// Where a worker tells what it has counted. Without it clients are served all the same.
fn status_socket(owner: &Owner, number: usize) -> Result<Option<UnixListener>, StartError> {
    let bound = owner.act(|| {
        if number == 0 {
            status::remove_stale();
        }
        status::bind(number)
    });
    match bound? {
        Ok(listener) => Ok(Some(listener)),
        Err(error) => {
            log::warn!("status socket: {error}");
            Ok(None)
        }
    }
}

/// Reads main.cf and gatepost.cf, and finds out the version of Postfix.
fn load(
    options: &Options,
    environment: &Environment,
) -> Result<(Loaded, Sources, Option<String>), StartError> {
    let config_directory = environment.config_directory();
    let host_name = nix::unistd::gethostname().map_err(common("gethostname"))?;
    let attempt = || -> Result<(Loaded, Sources, Option<String>), config::Fatal> {
        let sources = Sources::read(&config_directory, &options.overrides)?;
        let (build_defaults, trouble) = build_defaults::obtain(&sources, &memory(&sources));
        let version = build_defaults.get("mail_version").map(str::to_owned);
        let request = Request {
            service_name: options.service.clone(),
            process_name: PROCESS_NAME.into(),
            process_id: std::process::id(),
            host_name: host_name.to_string_lossy().into_owned(),
            build_defaults,
        };
        let mut loaded = config::load(&sources, &request)?;
        loaded.messages.splice(0..0, trouble);
        Ok((loaded, sources, version))
    };
    attempt().map_err(|fatal| {
        let reason = fatal.reason().to_owned();
        let mut seen = false;
        for message in &fatal.messages {
            // The first fatal one is logged by whoever ends the process.
            if !seen && message.level == Level::Fatal {
                seen = true;
            } else {
                maillog::message(message);
            }
        }
        StartError::Configuration(reason)
    })
}

/// Where the answer of postconf(1) is kept. Not in data_directory: these values name programs
/// that root executes, and `mail_owner` may not have a say in that.
fn memory(sources: &Sources) -> PathBuf {
    let queue = sources.main_cf().value("queue_directory").filter(|value| !value.contains('$'));
    let queue = queue.unwrap_or("/var/spool/postfix");
    Path::new(queue).join("pid/gatepost.defaults")
}

/// Of main.cf's `inet_protocols` those that the kernel has, as every Postfix daemon does.
fn of_kernel(wanted: Protocols) -> Result<Protocols, StartError> {
    let has = |wanted, family, name| {
        let errno = match wanted {
            true => process::has_family(family).map_err(common("socket"))?.err(),
            false => return Ok::<_, StartError>(false),
        };
        if let Some(errno) = errno {
            let why = errno_text(errno);
            log::warn!("inet_protocols: disabling {name} name/address support: {why}");
        }
        Ok(errno.is_none())
    };
    let ipv6 = has(wanted.ipv6, AddressFamily::Inet6, "IPv6")?;
    let ipv4 = has(wanted.ipv4, AddressFamily::Inet, "IPv4")?;
    if ipv4 || ipv6 {
        return Ok(Protocols { ipv4, ipv6 });
    }
    let words = match wanted {
        Protocols { ipv4: true, ipv6: true } => "all",
        Protocols { ipv4: true, ipv6: false } => "ipv4",
        Protocols { ipv4: false, .. } => "ipv6",
    };
    Err(StartError::Configuration(format!(
        "all network protocols are disabled (inet_protocols = {words})"
    )))
}

/// Opens the log anew, as main.cf says.
fn open_log(settings: &Settings, options: &Options, environment: &Environment) {
    let logging = &settings.logging;
    maillog::init(LogConfig {
        syslog_name: logging.syslog_name.clone(),
        facility: maillog::parse_facility(&logging.syslog_facility).unwrap_or(DEFAULT_FACILITY),
        destination: log_destination(settings),
        hostname: settings.myhostname.clone(),
        verbose: options.verbose.saturating_add(u8::from(environment.verbose)),
        utf8: if settings.smtputf8 { Utf8Filter::ValidUtf8 } else { Utf8Filter::AsciiOnly },
    });
}

/// Where main.cf has the log sent to.
pub fn log_destination(settings: &Settings) -> Destination {
    let logging = &settings.logging;
    match logging.maillog_file {
        None => Destination::Syslog,
        Some(_) => {
            let service = Path::new("public").join(&logging.postlog_service_name);
            Destination::Postlog(settings.directories.queue.join(service))
        }
    }
}

/// Logs what a step had to say; a fatal message ends the start.
fn log_all(
    messages: &[Message],
    kind: impl FnOnce(String) -> StartError,
) -> Result<(), StartError> {
    for message in messages {
        if message.level == Level::Fatal {
            return Err(kind(message.text.clone()));
        }
        maillog::message(message);
    }
    Ok(())
}

/// Looks up `mail_owner`, and sees that it and `setgid_group` are what Postfix asks for.
fn find_owner(settings: &Settings) -> Result<Owner, StartError> {
    let file = settings.directories.config.join("main.cf");
    let bad = |name: &str, problem: &str, value: &str| {
        let file = file.display();
        StartError::Configuration(format!("file {file}: parameter {name}: {problem}: {value}"))
    };
    let name = settings.mail_owner.as_str();
    let owner = Owner::find(name).ok().flatten();
    let owner = owner.ok_or_else(|| bad("mail_owner", "unknown user name value", name))?;
    if owner.uid.is_root() {
        return Err(bad("mail_owner", "value must not be root", name));
    }
    let name = settings.setgid_group.as_str();
    let group = Group::from_name(name).ok().flatten();
    let group = group.ok_or_else(|| bad("setgid_group", "unknown group name value", name))?;
    if group.gid.as_raw() == 0 {
        return Err(bad("setgid_group", "value must not be group 0", name));
    }
    if group.gid == owner.gid {
        return Err(bad("setgid_group", "value must differ from the group of mail_owner", name));
    }
    Ok(owner)
}

/// Reads the lists and tables, as root.
fn open_tables(settings: &Settings, files: &Outside<'_>) -> Result<ScreenTables, StartError> {
    let (access, engine) = (&settings.access, &settings.engine);
    let computed = |style| {
        let interfaces = mynetworks::interface_addresses()
            .map_err(|error| StartError::Configuration(format!("getifaddrs: {error}")))?;
        let settings = NetworkSettings {
            style,
            inet_interfaces: &access.inet_interfaces,
            ipv4: access.inet_protocols.ipv4,
            ipv6: access.inet_protocols.ipv6,
        };
        mynetworks::computed(&settings, &interfaces, &mynetworks::system_resolve)
            .map_err(|error| StartError::Configuration(error.to_string()))
    };
    let mynetworks = match &access.mynetworks {
        Some(text) => text.clone(),
        None => computed(access.mynetworks_style)?,
    };
    let by_default =
        access.mynetworks_by_default && access.mynetworks_style == mynetworks::Style::Subnet;
    let mynetworks_host_style =
        if by_default { Some(computed(mynetworks::Style::Host)?) } else { None };
    let wanted = ScreenTableSettings {
        access_list: access.list.clone(),
        mynetworks,
        mynetworks_host_style,
        allowlist_interfaces: access.allowlist_interfaces.clone(),
        discard_ehlo_keyword_address_maps: settings
            .engine
            .discard_ehlo_keyword_address_maps
            .clone(),
        reject_footer_maps: settings.engine.reject_footer_maps.clone(),
        // Without lists it has nothing to say, and may be as wrong as it likes.
        dnsbl_reply_map: settings
            .dnsbl
            .reply_map
            .clone()
            .filter(|_| !settings.dnsbl.sites.is_empty()),
        // Postfix 3.11 and newer go on without a table that has no type.
        command_filter: engine.command_filter.clone().filter(|table| table.contains(':')),
        forbidden_commands: engine.forbidden_commands.clone(),
        smtputf8: settings.smtputf8,
        proxy_lists: if settings.upstream_proxy {
            settings.own.proxy_lists.clone()
        } else {
            ProxyListSettings::default()
        },
        table_errors_are_fatal: settings.table_open_error_is_fatal,
        vintage: vintage(settings),
    };
    let (tables, messages) = match ScreenTables::open(&wanted, files) {
        Ok((tables, messages)) => (Some(tables), messages),
        Err(messages) => (None, messages),
    };
    let kind = if files.lacked_reader() { StartError::TableReader } else { StartError::Tables };
    log_all(&messages, kind)?;
    tables.ok_or_else(|| kind("cannot open tables".into()))
}

/// How lists are read and tables named. A version that cannot be told is taken for an older
/// one, as most are.
fn vintage(settings: &Settings) -> Vintage {
    let is_at_least =
        |minor| settings.mail_version.is_some_and(|version| version.is_at_least(3, minor));
    match (is_at_least(11), is_at_least(8)) {
        (true, _) => Vintage::Since311,
        (false, true) => Vintage::Since38,
        (false, false) => Vintage::UpTo37,
    }
}

/// How Postfix's own servers of tables are asked. A version that cannot be told is taken for
/// an older one, as most are.
fn table_servers(settings: &Settings) -> TableServerSettings {
    let is_at_least =
        |minor| settings.mail_version.is_some_and(|version| version.is_at_least(3, minor));
    let (query, reply) = settings.socketmap_limits;
    TableServerSettings {
        proxymap: Path::new("private").join(&settings.services.proxymap),
        customs: Customs {
            proxymap: if is_at_least(11) { Generation::Since311 } else { Generation::UpTo310 },
            socketmap_query: is_at_least(10).then_some(query),
            // Before 3.10 this is what the default is since.
            socketmap_reply: reply,
        },
    }
}

/// Gives DNS blocklists the names by which clients and the log may know them.
fn name_lists(policy: &mut Policy, tables: &ScreenTables) -> Result<(), StartError> {
    let mut messages = Vec::new();
    let view = tables.alone();
    let named = policy.dnsbl.lists.rename(|domain| view.dnsbl_name(domain, &mut messages));
    log_all(&messages, StartError::Tables)?;
    match named {
        // The worker asks for them.
        Ok(()) | Err(NoName::Asked(_)) => Ok(()),
        Err(error @ NoName::Failed(_)) => Err(StartError::Tables(error.to_string())),
    }
}

/// Finds out which name servers to ask about DNS blocklists, as root: a copy of resolv.conf in
/// a jail need not be readable.
fn name_servers(settings: &Settings, jail: Option<&Path>) -> NameServers {
    let wanted = settings.own.dnsbl_nameservers.as_str();
    if !wanted.is_empty() {
        match server_list(wanted) {
            Ok(list) => return NameServers::Fixed(list),
            Err(error) => {
                log::warn!("gatepost.cf: dnsbl_nameservers = {wanted}: {error}; ignored");
            }
        }
    }
    NameServers::System(ResolvConf::read(jail, |path| {
        let (modified, text) = watch::read(path)?;
        Some(Content { modified, text })
    }))
}

/// Says so if the PROXY protocol is spoken to everybody, at an address that others than this
/// machine may reach: whoever can connect can then pose as any client.
fn warn_of_open_door(tables: &ScreenTables, listeners: &[OwnedFd], ipv4: bool) {
    let end = |listener: &OwnedFd| TcpListener::from(listener.try_clone().ok()?).local_addr().ok();
    let open = listeners.iter().filter_map(end).find(|end| {
        let address = if ipv4 { end.ip().to_canonical() } else { end.ip() };
        !address.to_canonical().is_loopback() && tables.believes_everybody(address)
    });
    if let Some(end) = open {
        log::warn!(
            "postscreen_upstream_proxy_protocol: whoever connects to [{}]:{} can claim to be any \
             client; {NETWORKS} in gatepost.cf is for the addresses of the proxies",
            end.ip(),
            end.port()
        );
    }
}

/// Everything that may change under way, in the order of its numbers.
fn watched(tables: &ScreenTables, name_servers: Option<&NameServers>) -> Vec<Watched> {
    let files = tables.watched().into_iter().map(Watched::Table);
    let databases = tables.tables().indexes().into_iter().map(Watched::Index);
    let paths = name_servers.map(NameServers::paths).unwrap_or_default();
    let names = paths.into_iter().enumerate();
    let names = names.map(|(number, path)| Watched::NameServers(number, path));
    files.chain(databases).chain(names).collect()
}

/// The same as the supervisor sees it, with what only the supervisor has to know.
fn changes(
    tables: &ScreenTables,
    watched: &[Watched],
    snapshots: Snapshots,
    upgrade: Upgrade,
) -> Changes {
    let (mut items, mut subjects) = (Vec::new(), Vec::new());
    for watched in watched {
        subjects.push(match watched {
            Watched::Table(path) | Watched::NameServers(_, path) => Subject::Content(path.clone()),
            Watched::Index(index) => Subject::Change(snapshots.files(index)),
        });
        items.push(Item::ForWorkers(watched.clone()));
    }
    for (table, path) in tables.tables().held_files() {
        subjects.push(Subject::Identity(path));
        items.push(Item::Held(table));
    }
    let watch = Watch::new(subjects.into_iter(), SystemTime::now());
    Changes::new(items, watch, snapshots, upgrade)
}

/// Decides where the cache is.
fn locate_cache(settings: &Settings, owner: &Owner) -> Result<Place, StartError> {
    let Some(map) = &settings.cache.map else { return Ok(Place::None) };
    let request = location::Request {
        cache_map: map,
        default_type: &settings.default_database_type,
        data_directory: &settings.directories.data,
        cache_file: settings.own.cache_file.as_deref(),
    };
    let (place, messages) =
        location::locate(request, |directory| match std::fs::metadata(directory) {
            Ok(metadata) if metadata.uid() == owner.uid.as_raw() => location::Owner::MailOwner,
            Ok(_) => location::Owner::Other,
            Err(_) => location::Owner::Unknown,
        });
    log_all(&messages, StartError::Configuration)?;
    Ok(place)
}

fn cache_start(place: Place, settings: &Settings, policy: &Policy, cleans_up: bool) -> CacheStart {
    let options = |name: String| CacheOptions {
        retention: settings.cache.retention,
        cleanup_interval: settings.cache.cleanup_interval.filter(|_| cleans_up),
        max_entries: u64::try_from(settings.own.cache_max_entries).ok(),
        longest: Some(verdict::longest_pass(policy)),
        ..CacheOptions::new(name, policy.enabled)
    };
    match place {
        Place::None => CacheStart::None,
        Place::Memory => CacheStart::Memory(options("internal".into())),
        Place::File(location) => CacheStart::File {
            options: options(format!("sqlite:{}", location.sqlite_path.display())),
            location,
        },
    }
}

/// Raises the limit of open descriptors to what the connection limits ask for.
fn check_descriptor_limit(policy: &Policy, workers: usize) {
    let needed = daemon::needed_descriptors(policy, workers);
    match process::raise_descriptor_limit(needed) {
        Ok(limit) if limit >= needed => {}
        Ok(limit) => log::warn!(
            "postscreen_pre_queue_limit and postscreen_post_queue_limit need {needed} file \
             descriptors, but the limit is {limit}; with more clients than that, new ones wait"
        ),
        Err(errno) => log::warn!("setrlimit RLIMIT_NOFILE: {}", errno_text(errno)),
    }
}
