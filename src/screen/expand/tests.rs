use super::*;

fn value(name: &str) -> Option<Cow<'static, str>> {
    Some(Cow::Borrowed(match name {
        "myhostname" => "mx.example.test",
        "compatibility_level" => "3.6",
        "a1" => "one",
        "e1" => "",
        "undef_inside" => "$nothing",
        "loop" => "$loop",
        "ping" => "x$pong",
        "pong" => "y${ping}",
        "twice0" => "$twice1$twice1",
        "with_macro" => "<$a1>",
        _ => return doubling(name),
    }))
}

/// `twice1` is `$twice2$twice2` and so on, up to an empty `twice60`.
fn doubling(name: &str) -> Option<Cow<'static, str>> {
    let step: u32 = name.strip_prefix("twice")?.parse().ok()?;
    Some(if step < 60 { Cow::Owned(format!("$twice{0}$twice{0}", step + 1)) } else { "".into() })
}

fn expanded(text: &str) -> String {
    match expand(text, Mode::Recursive, value) {
        Ok(text) => text,
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn live_vectors() {
    for (text, result) in [
        ("$a1-${a1}-$(a1)", "one-one-one"),
        ("$name1 x", " x"),
        ("[${a1?yes}] [${a1:no}] [${b1?yes}] [${b1:no}]", "[yes] [] [] [no]"),
        ("[${e1?yes}] [${e1:no}] [${e1?{yes}:{no}}]", "[] [no] [no]"),
        (
            "[${a1?{yes}:{no}}] [${a1 ? {yes} : {no}}] [${a1?{yes}:no}] [${a1?yes:no}]",
            "[yes] [yes] [yes] [yes:no]",
        ),
        ("${{3.6} == {3.6} ? {eq} : {ne}}", "eq"),
        ("${{9} < {10} ? {num} : {str}}", "num"),
        ("${{a9} < {a10} ? {lt} : {ge}}", "ge"),
        ("${{09} == {9} ? {numeq} : {strne}}", "numeq"),
        ("${{$compatibility_level} >= {3.6} ? {ge} : {lt}}", "ge"),
        ("${{3.10} <level {3.6} ? {less} : {notless}}", "notless"),
        ("${{3.10} <{3.6} ? {less} : {notless}}", "less"),
        ("[${{a} == {b}}] [${{a} == {a}}] [${{a} != {b}:x}]", "[] [true] []"),
        ("${{$x} == {} ? {undef-is-empty} : {no}}", "undef-is-empty"),
        ("a$$b", "a$b"),
        ("$$$$a1", "$$a1"),
        ("${domain_to_ascii{b\u{fc}cher.$a1}}", "xn--bcher-kva.one"),
        ("${domain_to_utf8 { xn--bcher-kva.test }}", "b\u{fc}cher.test"),
        ("${domain_to_ascii{a b}}${domain_to_utf8{\u{fc}..}}", "a b\u{fc}.."),
        ("${ myhostname }", "mx.example.test"),
        ("${myhostname ?{ y }: { n } }.", " y ."),
        ("$(myhostname?{a}:{b}) $(myhostname)", "a mx.example.test"),
        ("${myhostname?a:b} ${myhostname?{a:b}} ${xx:a?b}", "a:b a:b a?b"),
        ("$myhostname.x $myhostname-y $my_host", "mx.example.test.x mx.example.test-y "),
        ("${stress?STRESS}${stress:NOSTRESS}", "NOSTRESS"),
        ("${ }|${?x}|", "||"),
        ("${a ? {x} : y}", "y"),
        ("${a:  b }|${a1 ?  b }|", "b |b |"),
        ("${a1?{x}:}${a1?{x} }${a1?}${a1?{}}", "xx"),
        ("${a1?${a1}:b}", "one:b"),
        ("${a1?x}y}", "xy}"),
        ("${{ a } == {a}}", ""),
        ("${{1}<{2}} ${{1}<level{2}} ${{ 3.7} <level {3.8}}", "true true true"),
        ("${{3.10} <=level {3.10.0}}", "true"),
        ("${{99999999999999999999}<{3}}|", "|"),
        ("[${undef_inside?yes}] [$undef_inside]", "[yes] []"),
        ("$with_macro", "<one>"),
        ("${a1?{fine}:{${}}}", "fine"),
    ] {
        assert_eq!(expanded(text), result, "{text}");
    }
}

#[test]
fn live_errors() {
    for (text, error) in [
        ("${a b}", r#"attribute name syntax error at: "...a>>> b""#),
        ("${a1 {x}}", r#"attribute name syntax error at: "...a1>>> {x}""#),
        ("${domain_to_ascii{a}x}", r#"unexpected input at: "...a}>>>x""#),
        ("${domain_to_ascii{\u{fc}..x }}", "bad domain argument in: 'domain_to_ascii{\u{fc}..x}'"),
        ("${domain_to_utf8{xn--a}}", "bad domain argument in: 'domain_to_utf8{xn--a}'"),
        ("${.a}", r#"attribute name syntax error at: "...>>>.a""#),
        (
            "${abc bcdefghijklmnopqrstuvwxyz}",
            r#"attribute name syntax error at: "...abc>>> bcdefghijklmnopqrst""#,
        ),
        (
            "${{a} = {b}?x}",
            r#""==" or "!="" or "<"" or "<="" or ">="" or ">" expected at: "...a}>>>= {b}?x""#,
        ),
        ("${{a} == {b}x}", r#""?" or ":" expected at: "...}>>>x""#),
        ("${{a} == b}", r#""{expression}" expected at: "...{a} ==>>> b""#),
        ("${{$a1}  ==  foo {b}}", r#""{expression}" expected at: "...{$a1} ==>>>  foo {b}""#),
        ("${{1}< level{2}}", r#""{expression}" expected at: "...{1} <>>> level{2}""#),
        ("${{a} ==foo {b}}", r#"bad operator suffix at: "...==>>>foo""#),
        ("${a?{x}y}", r#"":" expected at: "...x}>>>y""#),
        ("${a:{x}y}", r#"unexpected input at: "...x}>>>y""#),
        ("${a ? {x} : {y} z}", r#"unexpected input at: "...y}>>>z""#),
        ("${a1:{x}:{y}}", r#"unexpected input at: "...x}>>>:{y}""#),
        ("$ x", r#"empty macro name: "$ x""#),
        ("x$", r#"empty macro name: "x$""#),
        ("a${}b", r#"empty macro name: "a${}b""#),
        ("${{x$} == {b}}", r#"empty macro name: "x$""#),
        ("${unclosed", r#"truncated macro reference: "${unclosed""#),
        ("${a1?$(myhostname}", r#"truncated macro reference: "$(myhostname""#),
        ("$(a1?{x)y})", r#"unbalanced {} in attribute expression: "{x""#),
        ("${{3.x} <level {3}}", r#"malformed compatibility level syntax: "3.x""#),
        ("${{} <level {3.8}}", r#"malformed compatibility level syntax: """#),
        ("$loop", r#"unreasonable macro call nesting: "loop""#),
    ] {
        assert_eq!(expanded(text), format!("error: {error}"), "{text}");
    }
    assert!(expanded("$ping").starts_with("error: unreasonable macro call nesting"));
}

#[test]
fn depth_100_is_the_last_that_works() {
    let chain = |length: usize| {
        let next = move |name: &str| -> Option<Cow<'static, str>> {
            let step: usize = name.strip_prefix('x')?.parse().ok()?;
            let last = step == length + 1;
            Some(if last { "end".into() } else { Cow::Owned(format!("$x{}", step + 1)) })
        };
        expand("$x1", Mode::Recursive, next)
    };
    assert_eq!(chain(99), Ok("end".to_owned()));
    assert_eq!(chain(100), Err(ExpandError::Nesting("end".to_owned())));
    assert_eq!(chain(101), Err(ExpandError::Nesting("x102".to_owned())));
}

#[test]
fn doubling_values_end() {
    assert!(matches!(expand("$twice0", Mode::Recursive, value), Err(ExpandError::Size(_))));
}

#[test]
fn plain_mode_inserts_values_and_asks_once_for_each_name() {
    let mut asked = Vec::new();
    let mut plain = |text: &str| {
        expand(text, Mode::Plain, |name| {
            asked.push(name.to_owned());
            value(name)
        })
    };
    assert_eq!(plain("$with_macro"), Ok("<$a1>".to_owned()));
    assert_eq!(plain("${x:undef} $y $a1 $x ${a1?{$y}}"), Ok("undef  one  ".to_owned()));
    assert_eq!(asked, ["with_macro", "x", "y", "a1", "x", "a1", "y"]);
}

#[test]
fn levels() {
    let parse = |text: &str| CompatibilityLevel::parse(text).ok();
    assert_eq!(parse("3.6"), Some(CompatibilityLevel::new(3, 6, 0)));
    assert_eq!(parse("+3"), Some(CompatibilityLevel::new(3, 0, 0)));
    assert_eq!(parse("99999999999"), Some(CompatibilityLevel::new(99_999_999_999, 0, 0)));
    for bad in ["", "x", "3.", "3.6.1.2", "3.99999", "-1", "3. 6"] {
        assert_eq!(parse(bad), None, "{bad}");
    }
    assert!(parse("3.10") > parse("3.6"));
}

#[test]
fn references() {
    assert_eq!(sole_reference("$a_1"), Some("a_1"));
    assert_eq!(sole_reference("${a}"), Some("a"));
    assert_eq!(sole_reference("$(a)"), Some("a"));
    for other in ["a", "$", "$a b", "${a}b", "${a?b}", "${}", "$$a", "${a} ${b}"] {
        assert_eq!(sole_reference(other), None, "{other}");
    }
}

/// Any text gives a result or an error, never a panic.
#[test]
fn arbitrary_texts() {
    let pieces = ["$", "{", "}", "(", ")", "?", ":", "a1", " ", "==", "<level", "é", "{a}", "${"];
    let mut state = 0x9e37_79b9_u32;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str(pieces[(state >> 16) as usize % pieces.len()]);
        }
        drop(expand(&text, Mode::Recursive, value));
    }
}
