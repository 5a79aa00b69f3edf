use super::Bench;

#[test]
fn the_demonstration_checks_itself_and_leaves_a_sound_store() {
    let bench = Bench::new();
    let shown = bench.good("demo --file d.tide --users 60 --messages 3000");
    assert!(shown.contains("deliveries") && shown.contains("without a gap"), "{shown}");
    bench.good("verify d.tide");
    let inbox = bench.json("scan d.tide --table sync --timeline t:user,i:0 --limit 3 --json");
    assert_eq!(inbox.len(), 3);
    assert_eq!(inbox[0]["origin"]["table"], "message");
}

#[test]
fn a_file_that_is_there_is_not_replaced_unasked() {
    let bench = Bench::new();
    bench.write("d.tide", b"precious");
    bench.bad("demo --file d.tide --users 5 --messages 10", 2);
    assert_eq!(std::fs::read(bench.path("d.tide")).unwrap(), b"precious");
    bench.good("demo --file d.tide --users 5 --messages 10 --force");
}

#[test]
fn one_seed_plays_one_day() {
    let bench = Bench::new();
    bench.good("demo --file a.tide --users 20 --messages 500 --seed 9");
    bench.good("demo --file b.tide --users 20 --messages 500 --seed 9");
    let day = |file: &str| {
        let scan = format!("scan {file} --table sync --timeline t:user,i:1 --json");
        super::entries(&bench.json(&scan))
    };
    assert_eq!(day("a.tide"), day("b.tide"));
}
