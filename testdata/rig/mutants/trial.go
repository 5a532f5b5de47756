package mutants

import "slices"

// judged is what a release on trial is given up for.
var judged = slices.Concat(
	in("ota/trial/trial.go",
		instead("baselines that are too long are cut", "len(out) > MaxBaseline && len(b.Devices) > 0", "false", "TestBaselineBytes"),
		never("a baseline that is too long", "len(body) > MaxBaseline", "TestBaselineBytes"),
		instead("a baseline of other fields", "d.DisallowUnknownFields()\n", "", "TestBaselineBytes"),
		instead("a baseline with more behind it", "!errors.Is(err, io.EOF)", "!errors.Is(err, io.EOF) && false", "TestBaselineBytes"),
		instead("nothing is a baseline", "if len(body) == 0 {", "if false {", "TestBaselineBytes"),
		never("memory that runs away", "b > 0 && s.Memory > b+runaway && s.Memory > b*runTimes", "TestVerdicts/it_leaks_slowly"),
		instead("memory of which nothing is known", "b > 0 && s.Memory > b+runaway", "s.Memory > b+runaway", "TestVerdicts"),
		instead("memory: more than so much", " && s.Memory > b+runaway", "", "TestVerdicts/it_leaks_slowly"),
		instead("memory: more than so many times", " && s.Memory > b*runTimes", "", "TestVerdicts"),
		instead("a release has to run for so long", "why == nil && s.Up >= j.settle", "why == nil", "TestVerdicts/all_is_well"),
		instead("a release is kept only when all is healthy", "why == nil && s.Up >= j.settle", "s.Up >= j.settle", "TestVerdicts/a_device_is_lost"),
		never("a release has so much time", "s.Up >= j.window", "TestVerdicts/a_device_is_lost"),
		instead("memory is judged by how low it comes", "min(j.low[len(j.low)-1], s.Memory)", "s.Memory", "TestVerdicts/it_leaks_slowly"),
		instead("memory is judged in parts", "n == 0 || part > j.at", "n == 0", "TestVerdicts/it_leaks_slowly"),
		instead("devices that are lost", "len(d) > 0 {", "false {", "TestVerdicts/a_device_is_lost"),
		never("rules that are silent", "j.before.Rules && s.Judged == 0", "TestVerdicts/rules_are_silent"),
		instead("rules that were silent before", "j.before.Rules && s.Judged", "s.Judged", "TestVerdicts/nothing_was_healthy_before"),
		instead("uplinks that deliver nothing", "len(u) > 0 {", "false {", "TestVerdicts/nothing_is_delivered"),
		never("a gateway that is not healthy", `s.Trouble != ""`, "TestVerdicts/it_is_in_trouble"),
		instead("memory that grows", "last > first+max(slack, first/growth) {", "false {", "TestVerdicts/it_leaks_slowly"),
		instead("memory may grow by so much", "first+max(slack, first/growth)", "first+first/growth", "TestVerdicts"),
		instead("memory may grow by such a share", "first+max(slack, first/growth)", "first+slack", "TestVerdicts/a_large_one_that_grows_by_a_fifth"),
		instead("memory at the start", "first = max(first, j.low[1])", "", "TestVerdicts/it_fills_its_caches_while_it_starts"),
		instead("so many are named", "if len(names) > 5 {", "if false {", "TestVerdicts/many_devices_are_lost"),
	),
)
