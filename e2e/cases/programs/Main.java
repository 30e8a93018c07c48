import greet.Greet;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

class Main {
  public static void main(String[] arguments) throws Exception {
    System.out.print(Greet.greeting());
    var runfiles = Path.of(System.getenv("JAVA_RUNFILES"), "_main");
    for (var name : List.of("data.txt", "node_modules/left/index.js", "node_modules/right/bin/right")) {
      System.out.print(Files.readString(runfiles.resolve(name)));
    }
    System.out.println(System.getProperty("java.version") + " " + List.of(arguments));
  }
}
