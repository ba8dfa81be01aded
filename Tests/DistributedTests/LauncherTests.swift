// What is read from launchers' variables, and which files are tried.

import Foundation
import LazyGrad
import Testing

@Suite("Launchers")
struct LauncherTests {
  @Test("Launchers are known by their variables")
  func kinds() {
    #expect(Launcher([:]) == nil)
    #expect(Launcher(["SLURM_NTASKS": "4", "LAZYGRAD_MPI": "/lib/libmpi.so.40"]) == nil)
    let open = Launcher([
      "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "PMIX_RANK": "3",
    ])
    #expect(open?.kind == .openMPI && open?.size == 4 && open?.rank == 3)
    let hydra = Launcher(["PMI_SIZE": "2", "PMI_RANK": "1"])
    #expect(hydra?.kind == .hydra && hydra?.size == 2 && hydra?.rank == 1)
    let slurm = Launcher(["PMIX_RANK": "5", "SLURM_STEP_NUM_TASKS": "8"])
    #expect(slurm?.kind == .pmix && slurm?.size == 8 && slurm?.rank == 5)
    let other = Launcher(["PMIX_RANK": "0"])
    #expect(other?.kind == .pmix && other?.size == nil)
  }

  #if os(Linux)
    @Test("What is beside the launcher comes before what the linker finds")
    func files() throws {
      let folder = FileManager.default.temporaryDirectory.appending(path: "launcher-\(UUID())")
      defer { try? FileManager.default.removeItem(at: folder) }
      let library = folder.appending(path: "lib/libmpi.so.12")
      try FileManager.default.createDirectory(
        at: library.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data().write(to: library)
      let hydra = Launcher(["PMI_SIZE": "2"])
      let program = folder.appending(path: "bin/hydra_pmi_proxy").path
      let names = ["libmpi.so.12", "libmpich.so.12", "libmpi_abi.so.1"]
      #expect(hydra?.libraryFiles(parentProgram: program) == [library.path] + names)
      #expect(hydra?.libraryFiles(parentProgram: "/usr/bin/hydra_pmi_proxy") == names)
      let intel = Launcher(["PMI_SIZE": "2", "I_MPI_ROOT": folder.path])
      #expect(intel?.libraryFiles(parentProgram: nil) == [library.path] + names)
      let open = Launcher(["OMPI_COMM_WORLD_SIZE": "2", "OPAL_PREFIX": folder.path])
      #expect(open?.libraryFiles(parentProgram: program) == ["libmpi.so.40"])
    }
  #endif
}
