//! What templates give.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn input(body: &str) -> Input {
    Input {
        body: body.to_owned(),
        params: json!({"path": {"id": "7"}, "querystring": {"id": "8", "q": "a b"}, "header": {"X": "y"}}),
        context: json!({"httpMethod": "GET", "authorizer": {"claims": {"sub": "ada"}}}),
        stage_variables: json!({"v": "1"}),
    }
}

#[track_caller]
fn check(template: &str, body: &str, expected: &str) {
    let filled = Template::parse(template).unwrap().fill(&input(body)).unwrap();
    assert_eq!(filled.text, expected, "{template}");
}

#[test]
fn the_input_is_told() {
    let body = r#"{"a": {"b": [1, "x"]}, "foo": "bar"}"#;
    check("$input.body", "plain", "plain");
    check("$input.json('$.a')", body, r#"{"b":[1,"x"]}"#);
    check("$input.json('$.gone') $input.path('$.a.b[1]')", body, "\"\" x");
    // As recorded from AWS.
    check("$input.path('$')", r#"{"foo": "bar"}"#, "{foo=bar}");
    check("$input.path('$')", r#"[{"foo": "bar"}]"#, r#"[{"foo":"bar"}]"#);
    check("$input.path('$')", r#"{"foo": [{"nested": "bar"}]}"#, r#"{foo=[{"nested":"bar"}]}"#);
    check("$input.path('$')", "", "{}");
    check("$foo $util.x $!foo ${foo}.", "", "$foo   ${foo}.");
    check(
        "$input.params('id') $input.params('q') $input.params('X') $input.params().header.X",
        "",
        "7 a b y y",
    );
    check("$context.httpMethod $context.authorizer.claims.sub $stageVariables.v", "", "GET ada 1");
}

/// HTTP does not tell the letters of their names apart, and clients write them in either way.
#[test]
fn headers_are_found_in_any_case_of_letters() {
    let input = Input {
        params: json!({"path": {"X-Both": "1"}, "querystring": {"Q": "2"}, "header": {"X-User": "ada", "X-Both": "3"}}),
        ..input("")
    };
    let check = |template: &str, expected: &str| {
        let filled = Template::parse(template).unwrap().fill(&input).unwrap();
        assert_eq!(filled.text, expected, "{template}");
    };
    check("$input.params('x-user') $input.params('X-USER') $input.params('X-User')", "ada ada ada");
    check("$input.params('X-Both') $input.params('x-both')", "1 3");
    check("$input.params().header.x-user $input.params().header['x-user']", "ada ada");
    check(
        "$input.params().get('header').get('x-user') $input.params()['header'].containsKey('x-user')",
        "ada true",
    );
    check("$input.params('q').$input.params().querystring.q.$input.params().header.other", "..");
}

/// A body of some size may be looked at as often as a template likes.
#[test]
fn looking_at_a_part_copies_that_part_only() {
    let members: Vec<String> = (0..20_000).map(|number| format!("\"m{number}\": [{number}]")).collect();
    let body = format!("{{{}}}", members.join(","));
    let looks = "$root.m7[0]$root.get('m8').get(0)$root['m9'][0]$root.size()$input.path('$').m1[0]";
    let template = format!("#set($root = $input.path('$'))#foreach($i in [1..100]){looks}#end");
    check(&template, &body, &"789200001".repeat(100));
}

#[test]
fn directives_do_what_they_say() {
    check("#set($a = 1)#if($a == 1)one#elseif($a == 2)two#{else}more#end!", "", "one!");
    check("#foreach($i in [1..3])$i#if($foreach.hasNext),#end#end", "", "1,2,3");
    check("#set($m = {'a': 1, b: 2})#foreach($k in $m.keySet())$k#end", "", "ab");
}

#[test]
fn values_are_changed_in_place() {
    check("#set($m = {})#set($x = $m.put('a', 1))$m.a $m.size() $m.containsKey('b')", "", "1 1 false");
    check("#set($l = [])#set($x = $l.add('a'))#set($x = $l.addAll(['b']))$l.size()$l[1]$l.get(0)", "", "2ba");
    check("#set($m = {'a': {}})#set($m.a.b = 'c')#set($m['d'] = 1)$m", "", "{a={b=c}, d=1}");
    check(
        "#foreach($e in $input.path('$').entrySet())$e.key=$e.getValue();#end",
        r#"{"a":1,"b":2}"#,
        "a=1;b=2;",
    );
    let filled =
        Template::parse("#set($context.responseOverride.status = 201)").unwrap().fill(&input("")).unwrap();
    assert_eq!(filled.context["responseOverride"]["status"], 201);
}

#[test]
fn texts_have_methods() {
    check(
        "#set($t = 'a-b-c')$t.length() $t.substring(2) $t.substring(0, 1) $t.indexOf('b') $t.split('-')[2]",
        "",
        "5 b-c a 2 c",
    );
    check(
        "#set($t = \"it's $context.httpMethod\")$t $t.replaceAll('[a-z]', '.') $t.matches('it.*')",
        "",
        "it's GET ..'. GET true",
    );
    check("$util.escapeJavaScript($input.body)", "a'b\"\n", "a\\'b\\\"\\n");
    check("$util.escapeJavaScript(\"it's\").replaceAll(\"\\\\'\", \"'\")", "", "it's");
    check(
        "$util.urlEncode('a b&c') $util.urlDecode('a+b%26') $util.base64Decode($util.base64Encode('x'))",
        "",
        "a+b%26c a b& x",
    );
    check("#set($j = $util.parseJson('{\"a\": [1]}'))$j.a[0]", "", "1");
}

#[test]
fn expressions_have_ranks() {
    check("#set($a = 1 + 2 * 3)#set($b = (1 + 2) * 3)$a $b", "", "7 9");
    check("#set($a = 7 / 2)#set($b = 7 % 2)#set($c = 1 / 0)$a $b $c", "", "3 1 $c");
    check("#if(!$gone && (1 < 2 || false) && 'a' != \"b\" and not false)yes#end", "", "yes");
    check("#set($a = 'x' + 1)$a", "", "x1");
}

#[test]
fn the_rest_is_text() {
    check("a ## b\nc #* d *# e #[[ $x #if ]]# \\$y # $ $5 ${", "", "a c  e  $x #if  $y # $ $5 ${");
    check("#if(true)\n  a\n#end\nb", "", "  a\nb");
    check("#foreach($i in [1..9])$i#if($i == 3)#break#end#end.#stop x", "", "123.");
}

#[test]
fn what_is_wrong_has_its_line() {
    let check = |text: &str, line: u32, words: &str| {
        let fault = Template::parse(text).unwrap_err();
        assert!(fault.line == line && fault.what.contains(words), "{fault:?}");
    };
    check("a\n#if($a)\nb", 3, "#if has no #end");
    check("\n#end", 2, "no #if");
    check("#set(a = 1)", 1, "variable");
    check("\n\n#set($a = )", 3, "a value is missing");
    check("#macro(x)#end", 1, "not served");
    check("${a", 1, "no `}`");
    check("#set($a = 'x)", 1, "no end");
    check("#* x", 1, "no `*#`");
    check(&format!("#set($a = {}1)", "(".repeat(2000)), 1, "levels");
    check(&"#if(true)".repeat(2000), 1, "levels");
    // What is missing on the way is made, and dropped level by level.
    check(&format!("\n#set($x{} = 1)", ".a".repeat(150_000)), 2, "parts");
    check(&format!("#set($x{} = 1)", "[1]".repeat(201)), 1, "parts");
}

#[test]
fn nothing_grows_without_bounds() {
    let check = |text: &str, words: &str| {
        let error = Template::parse(text).unwrap().fill(&input("")).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    let double = "#set($x = 'aaaaaaaaaa')#foreach($i in [1..100])#set($x = \"$x$x\")#end";
    check(double, "MiB");
    check("#set($l = [1])#foreach($i in [1..100])#set($y = $l.addAll($l))#end", "MiB");
    check("#set($l = [1])#foreach($i in [1..900])#set($l = [$l])#end", "levels");
    let all = "#set($l = [1..1000])#foreach($i in [1..1000])#foreach($j in [1..9])$l.contains(0)#end#end";
    check(all, "MiB");
    let deep = format!("#set($x{} = 1)#set($y = $x)", ".a".repeat(200));
    check(&deep, "levels");
    let rounds = "#foreach($i in [1..1000])#foreach($j in [1..1000])x#end#end";
    check(rounds, "steps");
    check("#set($t = 'x')$t.matches('((')", "regular expression");
}

proptest! {
    #[test]
    fn text_without_signs_is_itself(text in "[^$#\\\\]{0,200}") {
        let template = Template::parse(&text).unwrap();
        prop_assert_eq!(template.fill(&input("")).unwrap().text, text);
    }

    /// Whatever is written, it ends, with a text or with words about what is wrong.
    #[test]
    fn nothing_panics(parts in proptest::collection::vec(prop_oneof![
        "[ -~\n]{0,6}",
        proptest::sample::select(vec!["#set(", "$a", "$!{a}", "#if(", ")", "#end", "#else", "#foreach($i in ", "[1..5]", "'x'",
            "\"$a\"", "{", "}", "$input.path('$", ".a[0]", "#[[", "]]#", "$l.add(", "==", "&&", "1", "-", "$util.parseJson(", "\\"])
            .prop_map(str::to_owned),
    ], 0..25)) {
        if let Ok(template) = Template::parse(&parts.concat()) {
            let _ended = template.fill(&input("{\"a\": [1, {\"b\": null}]}"));
        }
    }
}
