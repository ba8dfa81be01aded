// Programs of views and in-place updates: every variable's data, base and memory, and all gradients,
// as MyGrad gives them.

import LazyGrad
import Testing

@Suite struct ProgramTests {
  /// Runs a case; what differs from the record, or nil.
  private static func disagreement(_ test: JSON, _ corpus: Corpus) throws -> String? {
    let leaf = Tensor(corpus.array(test["leaf"])!)
    let mask = NDArray.eye(3, dtype: .bool)
    var v = [+leaf]
    for step in test["steps"].list! {
      let words = step.list!
      let kind = words[0].string!
      if kind == "mul" {
        v.append(v[words[1].int!] * v[words[2].int!])
        continue
      }
      let name = words[1].string!
      let i = words[2].int!
      switch name {
      case "id": v.append(v[i][.ellipsis])
      case "hflip": v.append(v[i][.all, .slice(step: -1)])
      case "vflip": v.append(v[i][.slice(step: -1)])
      case "T": v.append(v[i].transposed())
      case "newaxis": v.append(v[i][.newAxis][0])
      case "+=2": v[i] += 2.0
      case "-=2": v[i] -= 2.0
      case "*=3": v[i] *= 3.0
      case "/=3": v[i] /= 3.0
      case "**=2": v[i] **= 2
      case "+=self": v[i] += v[i]
      case "[...]=y": v[i][.ellipsis] = v[words[3].int!]
      case "[0]=y[0]": v[i][0] = v[words[3].int!][0]
      case "+=y": v[i] += v[words[3].int!]
      case "out=add": v[i].assign(v[i] + v[words[3].int!])
      case "[mask]=y[mask]": v[i][mask] = v[words[3].int!][mask]
      default: return "unknown step \(name)"
      }
    }
    for (k, expected) in test["data"].list!.enumerated() {
      if let text = difference(
        v[k].array, corpus.array(expected)!, relative: 1e-9, absolute: 1e-12)
      {
        return "data of variable \(k): \(text)"
      }
    }
    for (k, expected) in test["base"].list!.enumerated() {
      let base = v.firstIndex { $0 === v[k].base }
      if base != expected.int { return "base of variable \(k): expected \(expected)" }
    }
    for (i, row) in test["shares"].list!.enumerated() {
      for (j, expected) in row.list!.enumerated()
      where v[i].array.sharesMemory(with: v[j].array) != expected.bool! {
        return "memory of variables \(i) and \(j): expected sharing to be \(expected.bool!)"
      }
    }
    v[test["head"].int!].backward(Tensor(corpus.array(test["seed"])!, constant: true))
    // A gradient that doesn't reach an overwritten element is exactly 0 here; MyGrad multiplies by 0,
    // which gives -0 for what was negative and not-a-number for what was infinite.
    let gradients = zip(v + [leaf], test["grads"].list! + [test["leaf_grad"]])
    for (k, (tensor, expected)) in gradients.enumerated() {
      switch (tensor.grad, expected.isNull) {
      case (nil, true): continue
      case (nil, false): return "gradient of variable \(k): expected one, got none"
      case (_?, true): return "gradient of variable \(k): expected none, got one"
      case (let gradient?, false):
        if let text = difference(
          gradient.array, corpus.array(expected)!, relative: 1e-9, absolute: 1e-12,
          signsOfZeros: false)
        {
          return "gradient of variable \(k): \(text)"
        }
      }
    }
    return nil
  }

  @Test func programsAgree() throws {
    let corpus = try Corpus.shared.get()
    let cases = try corpus.all("prog")
    var agreeing = 0
    for test in cases {
      if let text = try Self.disagreement(test, corpus) {
        Issue.record("\(test["id"].string ?? "?"): \(text)")
      } else {
        agreeing += 1
      }
    }
    report("conformance: programs \(agreeing)/\(cases.count)")
  }
}
