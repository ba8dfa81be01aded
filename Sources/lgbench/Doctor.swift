// The `doctor` command: the machine, the engine's choices and the settings in force, for a person
// who wonders why it is slow or behaves unexpectedly. Measures nothing.

import Foundation
import LazyGrad

/// Prints facts, one per line.
struct Doctor {
  let machine: Machine
  let report: Report

  func run() {
    var facts: [(key: String, title: String, text: String)] = [
      ("version", "version", "lgbench \(lgbenchVersion), compiled for \(Machine.architecture)"),
      ("cpu", "CPU", machine.cpu),
      ("os", "system", machine.system),
      ("cores", "cores", String(machine.cores)),
      ("threads", "threads per plan", String(LazyGradEngine.threads)),
      ("features", "CPU features", features),
      ("isa", "instruction set", Machine.tier),
      ("isa_reason", "", LazyGradEngine.instructionSetReason),
      (
        "isa_available", "",
        "of \(list(LazyGradEngine.availableInstructionSets)); --isa and LAZYGRAD_ISA choose"
      ),
      ("code", "machine code", codeMemory),
      ("caches", "caches", machine.caches.isEmpty ? "unknown" : list(machine.caches)),
      ("page_size", "page size", "\(machine.pageSize) bytes"),
      ("huge_pages", "huge pages", hugePages),
      ("guard", "memory guard", isMemoryGuardActive ? "on" : "off"),
      (
        "memory", "array memory",
        "\(LazyGradEngine.bytesInUse) bytes in use, \(LazyGradEngine.bytesCached) kept for reuse,"
          + " at most \(LazyGradEngine.memoryLimit)"
      ),
    ]
    let environment = ProcessInfo.processInfo.environment
    let variables = LazyGradEngine.environmentVariables
    let problems = LazyGradEngine.environmentProblems
    for variable in variables {
      let value = environment[variable.name].map { "'\($0)'" } ?? "not set"
      let problem =
        problems.first { $0.name == variable.name }
        .map { "; not used: \($0.problem)" } ?? ""
      facts.append((variable.name, variable.name, "\(value): \(variable.meaning)\(problem)"))
    }
    let width = facts.map(\.title.count).max()!
    for fact in facts {
      report.line(
        fact.title + String(repeating: " ", count: width - fact.title.count) + "  " + fact.text)
    }
    report.add(section: "doctor", .object(facts.map { ($0.key, .string($0.text)) }))
  }

  private var features: String {
    guard let features = machine.features else { return "unknown" }
    return list(features.map { "\($0.name) \($0.isPresent ? "yes" : "no")" })
  }

  private var codeMemory: String {
    let counters = LazyGradEngine.counters
    let allowed = LazyGradEngine.availableInstructionSets.count > 1 ? "allowed" : "not used"
    let refusals =
      counters.nativeRefusals == 0
      ? "never refused"
      : "refused \(counters.nativeRefusals) times, last: \(LazyGradEngine.lastNativeRefusal ?? "")"
    return "\(allowed), \(counters.codeBytes) bytes in use, \(refusals)"
  }

  private var hugePages: String {
    switch machine.hugePages {
    case "always": "always: large arrays get them"
    case "madvise": "madvise: large arrays ask for them and get them"
    case "never": "never: large arrays pay a page fault for every page at first use"
    case let policy?: policy
    case nil: "not applicable"
    }
  }

  private func list(_ items: [String]) -> String { items.joined(separator: ", ") }
}
