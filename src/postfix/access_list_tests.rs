use super::*;
use crate::postfix::table::test_files::Files;

const LABEL: &str = "postscreen_access_list";
const ACCESS: &str = "\
    127.1.0.0/16 reject\n\
    127.2.0.0/16 PERMIT\n\
    127.3.0.0/16 dunno\n\
    127.4.0.0/16 OK\n\
    127.5.0.0/16 reject, permit\n\
    127.6.0.0/16 dunno, reject\n\
    127.7.0.0/16 permit_mynetworks, reject\n\
    127.8.0.0/16 cidr:/x\n\
    127.9.0.0/16 REJECT you are bad\n\
    127.10.0.0/16 550 no\n\
    127.11.0.0/16 permit_mynetworks\n\
    127.12.0.0/16 , ,\n\
    127.13.0.0/16 {reject}\n\
    127.14.0.0/16 ,, Permit\n\
    127.15.0.0/16 foo:bar reject\n";

/// Opens the lists, ignoring what is said about that, and judges one client.
fn judge(list: &str, mynetworks: &str, client: &str) -> (Access, Vec<String>) {
    let files = Files::new([("/a", ACCESS), ("/n", "127.30.0.0/16\n127.31.0.1\n")]);
    let (mut tables, mut messages) = (Tables::new(false), Vec::new());
    let mynetworks =
        Mynetworks::parse(LABEL, mynetworks, None, &mut tables, &files, &mut messages).unwrap();
    let list = AccessList::parse(LABEL, list, &mut tables, &files, &mut messages).unwrap();
    let mut messages = Vec::new();
    let access =
        list.evaluate(tables.alone(), &mynetworks, client.parse().unwrap(), &mut messages).unwrap();
    (access, messages.into_iter().map(|message| message.text).collect())
}

#[track_caller]
fn expect(list: &str, mynetworks: &str, client: &str, access: Access) {
    assert_eq!(judge(list, mynetworks, client), (access, vec![]), "{client}");
}

#[track_caller]
fn expect_trouble(list: &str, mynetworks: &str, client: &str, warnings: &[&str]) {
    let warnings = warnings.iter().map(|warning| (*warning).to_owned()).collect();
    assert_eq!(judge(list, mynetworks, client), (Access::Undecided, warnings), "{client}");
}

#[test]
fn values_of_a_table() {
    let (list, mynetworks) = ("permit_mynetworks, cidr:/a", "127.7.0.1 127.11.0.0/16");
    for (client, access) in [
        ("127.1.0.1", Access::Reject),
        ("127.2.0.1", Access::Permit),
        ("127.3.0.1", Access::Undecided),
        ("127.5.0.1", Access::Reject),
        ("127.6.0.1", Access::Undecided),
        ("127.7.0.1", Access::Permit),
        ("127.7.0.2", Access::Reject),
        ("127.9.0.1", Access::Reject),
        ("127.11.0.1", Access::Permit),
        ("127.12.0.1", Access::Undecided),
        ("127.14.0.1", Access::Permit),
        ("127.99.0.1", Access::Undecided),
    ] {
        expect(list, mynetworks, client, access);
    }
    // What a value leaves open, the rest of the outer list decides.
    let list = "cidr:/a, reject";
    for client in ["127.3.0.1", "127.6.0.1", "127.12.0.1", "127.99.0.1"] {
        expect(list, "", client, Access::Reject);
    }
}

#[test]
fn trouble_in_a_value() {
    // An unknown word ends everything, a table only the value.
    for (client, word) in [("127.4.0.1", "OK"), ("127.10.0.1", "550"), ("127.13.0.1", "{reject}")] {
        let warning = format!(
            "cidr:/a: unknown command: {word} -- ignoring the remainder of this access list"
        );
        expect_trouble("cidr:/a, reject", "", client, &[&warning]);
    }
    for (client, item) in [("127.8.0.1", "cidr:/x"), ("127.15.0.1", "foo:bar")] {
        let warning = format!(
            "table cidr:/a: lookup result \"{item}\" is not allowed -- ignoring remainder of \
             access list"
        );
        expect_trouble("cidr:/a", "", client, &[&warning]);
        assert_eq!(judge("cidr:/a, reject", "", client), (Access::Reject, vec![warning]));
    }
    expect_trouble(
        "cidr:/a",
        "foo:x",
        "127.11.0.1",
        &[
            "foo:x is unavailable. unsupported dictionary type: foo",
            "postscreen_access_list: foo:x: table lookup problem",
            "cidr:/a: permit_mynetworks: mynetworks lookup error -- ignoring the remainder of this \
         access list",
        ],
    );
}

#[test]
fn words() {
    expect("", "", "127.0.0.1", Access::Undecided);
    expect("dunno reject", "", "127.0.0.1", Access::Undecided);
    expect("REJECT", "", "127.0.0.1", Access::Reject);
    expect("permit, reject", "", "127.0.0.1", Access::Permit);
    for word in ["permit_foo", "127.0.0.0/8", "!reject", "#", "permit_inet_interfaces"] {
        let warning = format!(
            "postscreen_access_list: unknown command: {word} -- ignoring the remainder of this \
             access list"
        );
        expect_trouble(&format!("{word} reject"), "", "127.0.0.1", &[&warning]);
    }
    // Never reached, never warned about.
    expect("reject nonsense", "", "127.0.0.1", Access::Reject);
}

#[test]
fn tables_without_files() {
    let list = "inline:{ 127.50.0.1=reject, {127.50.0.2 = permit} }";
    expect(list, "", "127.50.0.1", Access::Reject);
    expect(list, "", "127.50.0.2", Access::Permit);
    expect(list, "", "127.50.0.3", Access::Undecided);
    expect("static:reject", "", "127.0.0.1", Access::Reject);
    expect("static:{dunno, reject}", "", "127.0.0.1", Access::Undecided);
    expect("inline:{2001:DB8::1=reject}", "", "2001:db8::1", Access::Reject);
    expect_trouble(
        "static:nonsense",
        "",
        "127.0.0.1",
        &[
            "static:nonsense: unknown command: nonsense -- ignoring the remainder of this access list",
        ],
    );
}

#[test]
fn tables_that_fail() {
    expect_trouble(
        "fail:x, reject",
        "",
        "127.0.0.1",
        &["postscreen_access_list: fail:x: table lookup error -- ignoring the remainder of this \
         access list"],
    );
    expect_trouble(
        "cidr:/nonexistent, reject",
        "",
        "127.0.0.1",
        &[
            "cidr:/nonexistent is unavailable. open /nonexistent: No such file or directory",
            "postscreen_access_list: cidr:/nonexistent: table lookup error -- ignoring the remainder \
         of this access list",
        ],
    );
    expect_trouble(
        "foo:bar, permit",
        "",
        "127.0.0.1",
        &[
            "foo:bar is unavailable. unsupported dictionary type: foo",
            "postscreen_access_list: foo:bar: table lookup error -- ignoring the remainder of this \
         access list",
        ],
    );
}

#[test]
fn mynetworks() {
    let list = "permit_mynetworks, reject";
    for (mynetworks, client, access) in [
        ("!127.60.0.1 127.60.0.0/16", "127.60.0.1", Access::Reject),
        ("!127.60.0.1 127.60.0.0/16", "127.60.0.2", Access::Permit),
        ("/n !/n 127.32.0.1", "127.31.0.1", Access::Permit),
        ("/n !/n 127.32.0.1", "127.33.0.1", Access::Reject),
        ("cidr:/a", "127.1.0.1", Access::Permit),
        ("127.0.0.1 # comment", "127.0.0.1", Access::Permit),
        ("127.0.0.1 # comment", "127.0.0.2", Access::Reject),
        ("127.0.0.1/foo", "127.0.0.1", Access::Reject),
    ] {
        expect(list, mynetworks, client, access);
    }
    expect_trouble(
        list,
        "10.0.0.1/8 127.0.0.0/8",
        "127.0.0.5",
        &[
            "postscreen_access_list: non-null host address bits in \"10.0.0.1/8\", perhaps you should \
         use \"10.0.0.0/8\" instead",
            "postscreen_access_list: permit_mynetworks: mynetworks lookup error -- ignoring the \
         remainder of this access list",
        ],
    );
}

#[test]
fn what_is_said_when_the_list_is_read() {
    let (mut tables, mut messages) = (Tables::new(false), Vec::new());
    let files = Files::new([]);
    AccessList::parse(LABEL, "foo:bar, cidr:/x, foo:bar", &mut tables, &files, &mut messages)
        .unwrap();
    assert_eq!(
        messages,
        [
            Message::error("unsupported dictionary type: foo"),
            Message::error("open /x: No such file or directory"),
        ]
    );
    let error = AccessList::parse(LABEL, "x:", &mut tables, &files, &mut messages).unwrap_err();
    assert_eq!(
        error.message(),
        Message::fatal("open dictionary: expecting \"type:name\" form instead of \"x:\"")
    );
}

#[test]
fn since_3_11_warnings_tell_how_a_table_was_opened() {
    let files = Files::new([("/a", ACCESS)]);
    let mut tables = Tables::new(false).of(Vintage::Since311);
    let mut messages = Vec::new();
    let mynetworks =
        Mynetworks::parse(LABEL, "", None, &mut tables, &files, &mut messages).unwrap();
    let list = AccessList::parse(LABEL, "cidr:/a", &mut tables, &files, &mut messages).unwrap();
    let said = |client: &str| {
        let mut messages = Vec::new();
        let client = client.parse().unwrap();
        list.evaluate(tables.alone(), &mynetworks, client, &mut messages).unwrap();
        messages.into_iter().map(|message| message.text).collect::<Vec<_>>()
    };
    let opened = "cidr:/a(0,lock|fold_fix|utf8_request)";
    assert_eq!(
        said("127.4.0.1"),
        [format!("{opened}: unknown command: OK -- ignoring the remainder of this access list")]
    );
    assert_eq!(
        said("127.8.0.1"),
        [format!(
            "table {opened}: lookup result \"cidr:/x\" is not allowed -- ignoring remainder of \
             access list"
        )]
    );
}
