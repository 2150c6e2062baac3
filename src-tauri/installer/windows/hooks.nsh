; The engine's steps in the installer. Untested: written without a Windows at hand.
;
; The engine runs from the system's start as LocalSystem, by the Task Scheduler: it is a console program and speaks to no
; service manager. The task is written here because it names the folder that the user chose.

!define ENGINE_TASK "LANrage\Engine"

!macro STOP_ENGINE
  nsExec::ExecToLog 'schtasks.exe /End /TN "${ENGINE_TASK}"'
  Pop $0
  ; An engine that holds its program open would keep it from being replaced.
  nsExec::ExecToLog 'taskkill.exe /F /IM lanrage-engine.exe'
  Pop $0
!macroend

!macro NSIS_HOOK_PREINSTALL
  !insertmacro STOP_ENGINE
!macroend

!macro NSIS_HOOK_POSTINSTALL
  FileOpen $1 "$INSTDIR\engine-task.xml" w
  FileWrite $1 '<?xml version="1.0"?>$\r$\n'
  FileWrite $1 '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">$\r$\n'
  FileWrite $1 '<Triggers><BootTrigger/></Triggers>$\r$\n'
  FileWrite $1 '<Principals><Principal id="engine"><UserId>S-1-5-18</UserId><RunLevel>HighestAvailable</RunLevel></Principal></Principals>$\r$\n'
  FileWrite $1 '<Settings><MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy><DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries><StopIfGoingOnBatteries>false</StopIfGoingOnBatteries><ExecutionTimeLimit>PT0S</ExecutionTimeLimit><Priority>4</Priority><RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure></Settings>$\r$\n'
  FileWrite $1 '<Actions Context="engine"><Exec><Command>"$INSTDIR\lanrage-engine.exe"</Command><Arguments>run</Arguments></Exec></Actions>$\r$\n'
  FileWrite $1 '</Task>$\r$\n'
  FileClose $1
  nsExec::ExecToLog 'schtasks.exe /Create /F /TN "${ENGINE_TASK}" /XML "$INSTDIR\engine-task.xml"'
  Pop $0
  ${If} $0 != 0
    MessageBox MB_ICONEXCLAMATION "The LANrage engine could not be registered ($0). LANrage will say that no engine runs."
  ${EndIf}
  nsExec::ExecToLog 'schtasks.exe /Run /TN "${ENGINE_TASK}"'
  Pop $0
  ; Friends' packets may come in by any port; what they may reach is the engine's to decide.
  nsExec::ExecToLog 'netsh.exe advfirewall firewall add rule name="LANrage engine" dir=in action=allow program="$INSTDIR\lanrage-engine.exe" enable=yes'
  Pop $0
!macroend

!macro NSIS_HOOK_PREUNINSTALL
  !insertmacro STOP_ENGINE
  nsExec::ExecToLog 'schtasks.exe /Delete /F /TN "${ENGINE_TASK}"'
  Pop $0
  ; What the engine added while a party lasted; it was ended without a word.
  nsExec::ExecToLog '"$INSTDIR\lanrage-engine.exe" restore'
  Pop $0
  nsExec::ExecToLog 'netsh.exe advfirewall firewall delete rule name="LANrage engine"'
  Pop $0
  Delete "$INSTDIR\engine-task.xml"
!macroend

!macro NSIS_HOOK_POSTUNINSTALL
  ; It holds this computer's keys: it stays, and the user is told.
  ReadEnvStr $1 ProgramData
  ${If} ${FileExists} "$1\LANrage\*.*"
    DetailPrint "$1\LANrage stays: it holds this computer's keys and its party."
  ${EndIf}
!macroend
